#pragma once

#include <span>

namespace unmask {

// How fast a loss falls, eta = -d ln L / d step (arXiv 2604.01622, section 4), on average from the
// first evaluation at or behind `from` to the last: the slope of the line through ln L by least
// squares, to which every evaluation with a positive loss contributes. NaN with fewer than two.
double mean_learning_efficiency(std::span<const double> step, std::span<const double> loss,
                                double from);

}  // namespace unmask
