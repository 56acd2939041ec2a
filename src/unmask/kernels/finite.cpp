#include "unmask/kernels/finite.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "unmask/base/parallel.h"

namespace unmask {
namespace {

constexpr int32_t kExponent = 0x7f800000;  // all ones in NaN and infinity only

int32_t exponent_of(float value) { return std::bit_cast<int32_t>(value) & kExponent; }

bool piece_is_finite(const float* begin, const float* end) {
  int32_t largest = 0;
  for (; begin != end; ++begin) largest = std::max(largest, exponent_of(*begin));
  return largest != kExponent;
}

}  // namespace

bool all_finite(std::span<const float> values) {
  std::atomic<bool> finite = true;
  parallel_pieces(std::ssize(values), 1 << 16, [&](int64_t begin, int64_t end) {
    if (!piece_is_finite(values.data() + begin, values.data() + end)) {
      finite.store(false, std::memory_order_relaxed);
    }
  });
  return finite;
}

int64_t first_non_finite(std::span<const float> values) {
  const auto found = std::find_if(values.begin(), values.end(),
                                  [](float v) { return exponent_of(v) == kExponent; });
  return found == values.end() ? -1 : found - values.begin();
}

}  // namespace unmask
