#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace unmask {

// Selection works on integers in the order of the floats: +0 and -0 are the same key, a NaN
// stands beyond the infinity of its sign. No key is kNoKey.
inline constexpr int32_t kNoKey = INT32_MIN;
inline int32_t order_key(float x) {
  const auto bits = std::bit_cast<int32_t>(x + 0.0f);
  const int32_t key = bits ^ ((bits >> 31) & INT32_MAX);
  return key > kNoKey ? key : kNoKey + 1;
}

// How many keys a row of n must have room for, so that kernels read whole vectors.
inline constexpr int64_t padded_keys(int64_t n) { return (n + 15) / 16 * 16; }

// The positions of the k = chosen.size() largest of the first n keys, ascending; among equal keys
// the lowest positions win. keys [padded_keys(n)]: what lies behind n is overwritten.
void top_k_keys(std::span<int32_t> keys, int64_t n, std::span<int32_t> chosen);

// The same for floats.
void top_k(std::span<const float> values, std::span<int32_t> chosen);

}  // namespace unmask
