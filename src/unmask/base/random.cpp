#include "unmask/base/random.h"

#include <cmath>
#include <immintrin.h>
#include <numbers>

namespace unmask {

namespace {

constexpr int kRounds = 10;
constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kKeyStep0 = 0x9E3779B9u, kKeyStep1 = 0xBB67AE85u;

// The purpose is folded into the key with an odd constant, so that streams never share a key.
std::array<uint32_t, 2> key_words(RandomKey key) {
  return {static_cast<uint32_t>(key.seed),
          static_cast<uint32_t>(key.seed >> 32) + static_cast<uint32_t>(key.purpose) * 0x85EBCA6Bu};
}

}  // namespace

std::array<uint32_t, 4> random_bits(RandomKey key, uint64_t a, uint32_t b, uint32_t c) {
  auto [key0, key1] = key_words(key);
  std::array<uint32_t, 4> x = {static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32), b, c};
  for (int i = 0; i < kRounds; ++i) {
    const uint64_t p0 = uint64_t{kMultiplier0} * x[0];
    const uint64_t p1 = uint64_t{kMultiplier1} * x[2];
    x = {static_cast<uint32_t>(p1 >> 32) ^ x[1] ^ key0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ x[3] ^ key1, static_cast<uint32_t>(p0)};
    key0 += kKeyStep0;
    key1 += kKeyStep1;
  }
  return x;
}

// Four counters in a register, a word in the lower half of each 64 bits. The upper halves fill with
// what nobody reads: a multiplication looks at the lower ones only.
void random_bits_of_four(RandomKey key, uint64_t a, uint32_t b, uint32_t c,
                         std::span<std::array<uint32_t, 4>, 4> out) {
  const auto all = [](uint32_t word) { return _mm256_set1_epi64x(int64_t{word}); };
  auto [key0, key1] = key_words(key);
  __m256i x0 =
      _mm256_add_epi64(_mm256_set1_epi64x(static_cast<int64_t>(a)), _mm256_setr_epi64x(0, 1, 2, 3));
  __m256i x1 = _mm256_srli_epi64(x0, 32), x2 = all(b), x3 = all(c);
  for (int i = 0; i < kRounds; ++i) {
    const __m256i p0 = _mm256_mul_epu32(all(kMultiplier0), x0);
    const __m256i p1 = _mm256_mul_epu32(all(kMultiplier1), x2);
    x0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), x1), all(key0));
    x1 = p1;
    x2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), x3), all(key1));
    x3 = p0;
    key0 += kKeyStep0;
    key1 += kKeyStep1;
  }
  alignas(32) uint32_t words[4][8];
  const __m256i x[] = {x0, x1, x2, x3};
  for (size_t i = 0; i < 4; ++i) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(words[i]), x[i]);
  }
  for (size_t lane = 0; lane < 4; ++lane) {
    for (size_t i = 0; i < 4; ++i) out[lane][i] = words[i][2 * lane];
  }
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
