#pragma once

#include <span>
#include <string>
#include <vector>

#include "unmask/experiment/experiment.h"

namespace unmask {

// Pieces that several experiments' reports are made of.

// A curve with the band of its intervals over seeds; what is not finite is left out.
Curve band_curve(const std::string& label, const Band& band);

// One number of every arm as a point with its interval; arms without it are left out. No curve
// when none has it.
Figure arm_figure(const Results& results, std::span<const std::string> arms,
                  const std::string& value, const std::string& title, const std::string& y_label,
                  const std::string& caption);

// A curve per arm, `y` against `x` of the curve "STAGE.CURVE".
Figure curve_figure(const Results& results, std::span<const std::string> arms,
                    const std::string& curve, const std::string& x, const std::string& y,
                    Plot frame, const std::string& caption);

// A row per arm: its label, then each value as mean and half width of its interval.
struct ValueColumn {
  std::string head, value;
  double factor = 1;
};
Table arm_table(const Results& results, std::span<const std::string> arms, const std::string& title,
                std::span<const ValueColumn> columns);

// The same less the values of one of the arms, which has no row, seed by seed.
Table difference_table(const Results& results, std::span<const std::string> arms,
                       const std::string& baseline, const std::string& title,
                       std::span<const ValueColumn> columns);

}  // namespace unmask
