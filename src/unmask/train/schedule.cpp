#include "unmask/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace unmask {

float LearningRate::at(int64_t step) const {
  if (step <= warmup) return peak * static_cast<float>(step) / static_cast<float>(warmup);
  const double span = peak - floor;
  const auto after = [&](int64_t begin) {  // from 0 at `begin` to 1 at the last step
    return std::clamp(static_cast<double>(step - begin) /
                          static_cast<double>(std::max<int64_t>(steps - begin, 1)),
                      0.0, 1.0);
  };
  switch (shape) {
    case Shape::constant:
      return peak;
    case Shape::cosine:
      return static_cast<float>(floor +
                                span * 0.5 * (1.0 + std::cos(std::numbers::pi * after(warmup))));
    case Shape::wsd: {
      const int64_t begin =
          std::max<int64_t>(warmup, steps - std::lround(decay * static_cast<double>(steps)));
      return static_cast<float>(floor + span * (2.0 * std::pow(0.5, after(begin)) - 1.0));
    }
  }
  return peak;
}

}  // namespace unmask
