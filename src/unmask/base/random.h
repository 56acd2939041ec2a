#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace unmask {

// Counter-based randomness: every number is a function of where it is used, so results do not
// depend on threads, and a resumed run draws what the unbroken one would have drawn.
// Philox 4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

// What a number is drawn for; each purpose is a stream of its own. Append only: checkpoints
// depend on the values.
enum class Purpose : uint32_t {
  initialization = 1,
  mask_ratio = 2,
  mask = 3,
  shuffle = 4,
  sampling = 5,
  validation = 6,
  monte_carlo = 7,
  commit_order = 8,
  synthetic = 9,
};

struct RandomKey {
  uint64_t seed = 0;
  Purpose purpose = Purpose::synthetic;
};

// Four independent uniform 32-bit numbers for the counter (a, b, c); a < 2^64, b and c < 2^32.
std::array<uint32_t, 4> random_bits(RandomKey key, uint64_t a, uint32_t b = 0, uint32_t c = 0);

// Those of the counters a, a + 1, a + 2 and a + 3 at once.
void random_bits_of_four(RandomKey key, uint64_t a, uint32_t b, uint32_t c,
                         std::span<std::array<uint32_t, 4>, 4> out);

// Uniform in the open interval (0, 1), 23 bits.
float random_uniform(RandomKey key, uint64_t a, uint32_t b = 0, uint32_t c = 0);

// Standard normal (Box-Muller on two of the four numbers).
float random_normal(RandomKey key, uint64_t a, uint32_t b = 0, uint32_t c = 0);

// Uniform in [0, n), n > 0, without bias worth noticing (64-bit multiply-shift).
uint64_t random_below(RandomKey key, uint64_t n, uint64_t a, uint32_t b = 0, uint32_t c = 0);

// The open unit interval from 32 random bits: (bits / 2^9 + 1/2) / 2^23. With one bit more the half
// would not fit the 24 bits of an f32, and rounding would reach 1.
inline float to_unit_interval(uint32_t bits) {
  return (static_cast<float>(bits >> 9) + 0.5f) * 0x1p-23f;
}

}  // namespace unmask
