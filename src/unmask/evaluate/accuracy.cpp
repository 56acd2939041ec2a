#include "unmask/evaluate/accuracy.h"

#include <algorithm>
#include <cmath>

#include "unmask/base/check.h"

namespace unmask {

Accuracy accuracy_of(double right, int64_t count) {
  UNMASK_CHECK(right >= 0 && right <= static_cast<double>(count));
  if (count == 0) return {};
  constexpr double z = 1.959963984540054;  // 97.5 % of a standard normal lie below it
  const auto n = static_cast<double>(count);
  const double share = right / n;
  const double scale = 1 + z * z / n;
  const double center = (share + z * z / (2 * n)) / scale;
  const double half = z * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale;
  return {.count = count,
          .share = share,
          .low = std::max(0.0, center - half),
          .high = std::min(1.0, center + half)};
}

}  // namespace unmask
