#include "unmask/diffusion/corruption.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

constexpr RandomKey kMaskKey{7, Purpose::mask};

TEST(Corruption, MasksEachPositionWithProbabilityT) {
  constexpr int32_t kLength = 1000, kSequences = 200;
  std::vector<uint8_t> masked(kLength);
  for (const float t : {0.1f, 0.5f, 0.93f}) {
    double total = 0, neighbours = 0;
    for (uint32_t b = 0; b < kSequences; ++b) {
      const int32_t count = mask_positions(t, kMaskKey, 3, b, 0, kLength, masked);
      EXPECT_EQ(count, std::accumulate(masked.begin(), masked.end(), 0));
      total += count;
      for (int32_t i = 1; i < kLength; ++i) neighbours += masked[i] && masked[i - 1];
    }
    const double n = kLength * kSequences;
    EXPECT_NEAR(total / n, t, 5 * std::sqrt(t * (1 - t) / n));
    // Independent: both of two neighbours with probability t^2.
    EXPECT_NEAR(neighbours / n, t * t, 0.01);
  }
}

TEST(Corruption, MasksAtLeastOneAndOnlyInsideTheRange) {
  std::vector<uint8_t> masked(50, 9);
  std::set<int32_t> chosen;
  for (uint32_t b = 0; b < 400; ++b) {
    ASSERT_EQ(mask_positions(0.0f, kMaskKey, 0, b, 10, 20, masked), 1);
    const auto at = std::find(masked.begin(), masked.end(), 1) - masked.begin();
    EXPECT_TRUE(at >= 10 && at < 20);
    chosen.insert(static_cast<int32_t>(at));
  }
  EXPECT_EQ(chosen.size(), 10u) << "the one position should be any of the range";
  EXPECT_EQ(mask_positions(1.0f, kMaskKey, 0, 0, 10, 20, masked), 10);
  for (int32_t i = 0; i < 50; ++i) EXPECT_EQ(masked[i], i >= 10 && i < 20);
  EXPECT_EQ(mask_positions(1.0f, kMaskKey, 0, 0, 20, 20, masked), 0);
}

TEST(Corruption, DependsOnSeedStepAndSequenceOnly) {
  const auto draw = [](uint64_t seed, uint64_t step, uint32_t sequence) {
    std::vector<uint8_t> masked(64);
    mask_positions(0.5f, {seed, Purpose::mask}, step, sequence, 0, 64, masked);
    return masked;
  };
  EXPECT_EQ(draw(1, 2, 3), draw(1, 2, 3));
  EXPECT_NE(draw(1, 2, 3), draw(2, 2, 3));
  EXPECT_NE(draw(1, 2, 3), draw(1, 3, 3));
  EXPECT_NE(draw(1, 2, 3), draw(1, 2, 4));
}

TEST(Corruption, MaskRatioIsUniformInItsRange) {
  const MaskRatioRange range{0.3f, 0.8f};
  constexpr int kDraws = 20000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double t = draw_mask_ratio(range, 1, i / 8, i % 8, 8);
    ASSERT_TRUE(t >= 0.3f && t <= 0.8f);
    sum += t;
    squares += t * t;
  }
  const double mean = sum / kDraws, variance = squares / kDraws - mean * mean;
  EXPECT_NEAR(mean, 0.55, 5 * std::sqrt(0.25 / 12 / kDraws));
  EXPECT_NEAR(variance, 0.25 / 12, 0.001);
}

TEST(Corruption, StratifiedRatiosFallOneInEachPart) {
  const MaskRatioRange range{0.0f, 1.0f, true};
  constexpr int kBatch = 16;
  double first = 0;
  for (uint64_t step = 0; step < 500; ++step) {
    std::set<int> parts;
    for (int i = 0; i < kBatch; ++i) {
      parts.insert(static_cast<int>(draw_mask_ratio(range, 1, step, i, kBatch) * kBatch));
    }
    EXPECT_EQ(parts.size(), static_cast<size_t>(kBatch)) << "step " << step;
    first += draw_mask_ratio(range, 1, step, 0, kBatch);
  }
  EXPECT_NEAR(first / 500, 0.5, 5 * std::sqrt(1.0 / 12 / 500)) << "each sequence is uniform";
}

TEST(Corruption, RefusesImpossibleRanges) {
  EXPECT_TRUE(validate(MaskRatioRange{0.3f, 0.8f}).ok());
  EXPECT_FALSE(validate(MaskRatioRange{0.8f, 0.3f}).ok());
  EXPECT_FALSE(validate(MaskRatioRange{-0.1f, 0.3f}).ok());
  EXPECT_FALSE(validate(MaskRatioRange{0.1f, 1.3f}).ok());
}

}  // namespace
}  // namespace unmask
