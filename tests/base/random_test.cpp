#include "unmask/base/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

using Words = std::array<uint32_t, 4>;

// The key (k0, k1) of Philox: the seed that undoes the folding of the purpose.
RandomKey philox_key(uint32_t k0, uint32_t k1) {
  const Purpose purpose = Purpose::synthetic;
  const uint32_t folded = static_cast<uint32_t>(purpose) * 0x85EBCA6Bu;
  return {uint64_t{k1 - folded} << 32 | k0, purpose};
}

// Known answers for Philox4x32-10 that come with Random123 (kat_vectors).
TEST(Random, IsPhilox) {
  EXPECT_EQ(random_bits(philox_key(0, 0), 0),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(random_bits(philox_key(~0u, ~0u), ~uint64_t{0}, ~0u, ~0u),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      random_bits(philox_key(0xa4093822, 0x299f31d0), 0x85a308d3243f6a88, 0x13198a2e, 0x03707344),
      (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, EveryArgumentMatters) {
  std::set<Words> seen;
  for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32}) {
    for (uint32_t purpose = 1; purpose <= 9; ++purpose) {
      const RandomKey key{seed, static_cast<Purpose>(purpose)};
      for (const uint64_t a : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32, uint64_t{1} << 63}) {
        for (uint32_t b = 0; b < 2; ++b) {
          for (uint32_t c = 0; c < 2; ++c) {
            EXPECT_TRUE(seen.insert(random_bits(key, a, b, c)).second);
          }
        }
      }
    }
  }
  EXPECT_EQ(random_bits({7, Purpose::mask}, 3, 2, 1), random_bits({7, Purpose::mask}, 3, 2, 1));
}

TEST(Random, UnitIntervalIsOpen) {
  EXPECT_GT(to_unit_interval(0), 0.0f);
  EXPECT_LT(to_unit_interval(~0u), 1.0f);
  EXPECT_EQ(to_unit_interval(1u << 31), 0.5f + 0x1p-24f);
  EXPECT_EQ(to_unit_interval(0), 1.0f - to_unit_interval(~0u));
}

constexpr int kDraws = 1 << 16;

// Pearson's statistic for k equal bins has mean k - 1 and variance 2 (k - 1).
void expect_even(const std::vector<int>& counts) {
  const double bins = static_cast<double>(counts.size());
  double total = 0;
  for (const int count : counts) total += count;
  double statistic = 0;
  for (const int count : counts) {
    const double expected = total / bins;
    statistic += (count - expected) * (count - expected) / expected;
  }
  EXPECT_NEAR(statistic, bins - 1, 5 * std::sqrt(2 * (bins - 1)));
}

TEST(Random, UniformIsEven) {
  std::vector<int> counts(64);
  for (uint64_t i = 0; i < kDraws; ++i) {
    const float u = random_uniform({1, Purpose::mask}, i);
    ASSERT_GT(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    ++counts[static_cast<size_t>(u * 64)];
  }
  expect_even(counts);
}

TEST(Random, BelowIsEvenAndBelow) {
  for (const uint64_t n : {uint64_t{1}, uint64_t{2}, uint64_t{7}, uint64_t{100}}) {
    std::vector<int> counts(n);
    for (uint64_t i = 0; i < kDraws; ++i) {
      const uint64_t drawn = random_below({2, Purpose::shuffle}, n, i);
      ASSERT_LT(drawn, n);
      ++counts[drawn];
    }
    if (n > 1) expect_even(counts);
  }
  const uint64_t large = uint64_t{3} << 62;
  uint64_t highest = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    highest = std::max(highest, random_below({2, Purpose::shuffle}, large, i));
  }
  EXPECT_LT(highest, large);
  EXPECT_GT(highest, large / 100 * 98);  // fails once in 0.98^-1000 = 6e8 keys
}

TEST(Random, NormalHasItsMoments) {
  double sum = 0, squares = 0, fourth = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double z = random_normal({3, Purpose::initialization}, i);
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  // Five standard errors: variances of z, z^2 and z^4 are 1, 2 and 96.
  EXPECT_NEAR(sum / kDraws, 0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(fourth / kDraws, 3, 5 * std::sqrt(96.0 / kDraws));
}

// Streams of other purposes, seeds and counters do not correlate.
TEST(Random, StreamsAreIndependent) {
  const auto correlation = [](auto first, auto second) {
    double sum = 0;
    for (uint64_t i = 0; i < kDraws; ++i) sum += (first(i) - 0.5) * (second(i) - 0.5);
    return 12 * sum / kDraws;  // the variance of a uniform number is 1/12
  };
  const double bound = 5 / std::sqrt(kDraws);
  const auto mask = [](uint64_t i) { return random_uniform({1, Purpose::mask}, i); };
  EXPECT_NEAR(correlation(mask, mask), 1, 0.02);
  EXPECT_NEAR(correlation(mask,
                          [](uint64_t i) {
                            return random_uniform({1, Purpose::mask_ratio}, i);
                          }),
              0, bound);
  EXPECT_NEAR(correlation(mask,
                          [](uint64_t i) {
                            return random_uniform({2, Purpose::mask}, i);
                          }),
              0, bound);
  EXPECT_NEAR(correlation(mask,
                          [](uint64_t i) {
                            return random_uniform({1, Purpose::mask}, i + 1);
                          }),
              0, bound);
  EXPECT_NEAR(correlation(mask,
                          [](uint64_t i) {
                            return random_uniform({1, Purpose::mask}, i, 1);
                          }),
              0, bound);
}

TEST(RandomBits, OfFourCountersAreThoseOfEach) {
  const RandomKey key{0x0123456789abcdefu, Purpose::initialization};
  // With a carry into the upper half of the counter.
  for (const uint64_t a : {uint64_t{0}, uint64_t{0xfffffffe}, ~uint64_t{0} - 1}) {
    std::array<std::array<uint32_t, 4>, 4> four;
    random_bits_of_four(key, a, 0xfedcba98u, 7, four);
    for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(four[i], random_bits(key, a + i, 0xfedcba98u, 7));
  }
}

}  // namespace
}  // namespace unmask
