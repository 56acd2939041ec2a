#include "unmask/experiment/learning_efficiency.h"

#include <cmath>
#include <limits>

#include "unmask/base/check.h"

namespace unmask {
namespace {

constexpr double kNoSlope = std::numeric_limits<double>::quiet_NaN();

double log_or_nan(double loss) { return loss > 0 ? std::log(loss) : kNoSlope; }

}  // namespace

double mean_learning_efficiency(std::span<const double> step, std::span<const double> loss,
                                double from) {
  UNMASK_CHECK(step.size() == loss.size());
  double n = 0, sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0;
  for (size_t i = 0; i < step.size(); ++i) {
    const double x = step[i] - from, y = log_or_nan(loss[i]);
    if (x < 0 || !std::isfinite(y)) continue;
    n += 1;
    sum_x += x;
    sum_y += y;
    sum_xx += x * x;
    sum_xy += x * y;
  }
  const double spread = n * sum_xx - sum_x * sum_x;
  return n >= 2 && spread > 0 ? -(n * sum_xy - sum_x * sum_y) / spread : kNoSlope;
}

}  // namespace unmask
