#include "unmask/diffusion/corruption.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace unmask {

Status validate(const MaskRatioRange& range) {
  if (!(range.low >= 0.0f && range.low <= range.high && range.high <= 1.0f)) {
    return usage_error("mask ratio range [{}, {}]: expected 0 <= low <= high <= 1", range.low,
                       range.high);
  }
  return {};
}

float draw_mask_ratio(const MaskRatioRange& range, uint64_t seed, uint64_t step, int64_t sequence,
                      int64_t batch_sequences) {
  const RandomKey key{seed, Purpose::mask_ratio};
  const float width = range.high - range.low;
  if (!range.stratified) {
    return range.low + width * random_uniform(key, step, static_cast<uint32_t>(sequence));
  }
  const double point = random_uniform(key, step) +
                       static_cast<double>(sequence) / static_cast<double>(batch_sequences);
  return range.low + width * static_cast<float>(point - std::floor(point));
}

int32_t mask_positions(float t, RandomKey key, uint64_t a, uint32_t b, int32_t begin, int32_t end,
                       std::span<uint8_t> masked) {
  std::fill(masked.begin(), masked.end(), uint8_t{0});
  int32_t count = 0;
  int32_t nearest = -1;
  float smallest = std::numeric_limits<float>::infinity();
  for (int32_t i = begin; i < end; ++i) {
    const float u = random_uniform(key, a, b, static_cast<uint32_t>(i));
    masked[i] = u < t ? 1 : 0;
    count += masked[i];
    if (u < smallest) {
      smallest = u;
      nearest = i;
    }
  }
  if (count == 0 && nearest >= 0) {
    masked[nearest] = 1;
    count = 1;
  }
  return count;
}

}  // namespace unmask
