#include "unmask/base/random.h"

#include <cmath>
#include <numbers>

namespace unmask {

std::array<uint32_t, 4> random_bits(RandomKey key, uint64_t a, uint32_t b, uint32_t c) {
  uint32_t key0 = static_cast<uint32_t>(key.seed);
  // The purpose is folded into the key with an odd constant, so that streams never share a key.
  uint32_t key1 =
      static_cast<uint32_t>(key.seed >> 32) + static_cast<uint32_t>(key.purpose) * 0x85EBCA6Bu;
  std::array<uint32_t, 4> x = {static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32), b, c};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * x[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * x[2];
    x = {static_cast<uint32_t>(p1 >> 32) ^ x[1] ^ key0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ x[3] ^ key1, static_cast<uint32_t>(p0)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return x;
}

float random_uniform(RandomKey key, uint64_t a, uint32_t b, uint32_t c) {
  return to_unit_interval(random_bits(key, a, b, c)[0]);
}

float random_normal(RandomKey key, uint64_t a, uint32_t b, uint32_t c) {
  const auto bits = random_bits(key, a, b, c);
  const float radius = std::sqrt(-2.0f * std::log(to_unit_interval(bits[0])));
  return radius * std::cos(2.0f * std::numbers::pi_v<float> * to_unit_interval(bits[1]));
}

uint64_t random_below(RandomKey key, uint64_t n, uint64_t a, uint32_t b, uint32_t c) {
  const auto bits = random_bits(key, a, b, c);
  const uint64_t word = (uint64_t{bits[0]} << 32) | bits[1];
  __extension__ using uint128 = unsigned __int128;
  return static_cast<uint64_t>((static_cast<uint128>(word) * n) >> 64);
}

}  // namespace unmask
