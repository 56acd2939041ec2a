#pragma once

#include <span>
#include <vector>

namespace unmask {

// How fast a loss falls, eta = -d ln L / d step (arXiv 2604.01622, section 4), between each two
// neighbouring evaluations: [evaluations - 1]. Steps ascend; a loss that is missing or not positive
// makes its neighbours NaN.
std::vector<double> learning_efficiency(std::span<const double> step, std::span<const double> loss);

// The mean of eta from the first evaluation at or behind `from` to the last: the slope of the line
// through ln L by least squares, to which every evaluation contributes. NaN with fewer than two.
double mean_learning_efficiency(std::span<const double> step, std::span<const double> loss,
                                double from);

}  // namespace unmask
