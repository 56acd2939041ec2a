#include "unmask/kernels/softmax.h"

#include "tests/support/numeric.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/kernels/reference/softmax.h"

namespace unmask {
namespace {

std::vector<float> random_logits(int64_t n) {
  TestMatrix x = random_matrix(1, n, static_cast<uint64_t>(n), 5.0f);
  return {x.flat().begin(), x.flat().end()};
}

TEST(LargestOf, IsTheFirstOfEquals) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const int64_t n : {1, 5, 8, 31, 32, 33, 64, 1000}) {
    std::vector<float> logits = random_logits(n);
    const auto expect_same = [&] {
      const Largest found = largest_of(logits), expected = reference::largest_of(logits);
      EXPECT_EQ(found.value, expected.value) << n;
      EXPECT_EQ(found.index, expected.index) << n;
    };
    expect_same();
    for (const float value : {20.0f, kInfinity}) {
      for (int64_t i = n - 1; i >= 0; i -= 7) {
        logits[i] = value;
        expect_same();
      }
    }
    std::ranges::fill(logits, -kInfinity);
    expect_same();
    logits[n - 1] = -3;
    logits[0] = std::numeric_limits<float>::quiet_NaN();
    expect_same();
  }
}

TEST(ExpSums, AgreesWithReference) {
  for (const int64_t n : {1, 7, 8, 9, 1000, 157184}) {
    std::vector<float> logits = random_logits(n);
    if (n > 2) logits[2] = -std::numeric_limits<float>::infinity();
    const float offset = reference::largest_of(logits).value;
    for (const float scale : {1.0f, 0.5f, 3.0f}) {
      const ExpSums found = exp_sums(logits, offset, scale);
      const ExpSums expected = reference::exp_sums(logits, offset, scale);
      // Each exponential is off by 1.5 units and the rounding of its argument, of up to 60.
      EXPECT_NEAR(found.sum, expected.sum, 64 * kEpsilonF32 * expected.sum) << n;
      EXPECT_NEAR(found.weighted, expected.weighted, 64 * kEpsilonF32 * std::abs(expected.weighted))
          << n;
    }
  }
}

TEST(SoftmaxRow, AgreesWithReference) {
  for (const int64_t n : {1, 3, 8, 21, 64, 256, 513}) {
    TestMatrix x = random_matrix(1, n, static_cast<uint64_t>(n), 5.0f);
    const std::span<const float> logits = x.flat();
    std::vector<float> p(n), expected(n);
    const float log_sum = softmax_row(logits, p);
    const float expected_log_sum = reference::softmax_row(logits, expected);
    // The exponential is off by 1.5 units (3 epsilon) and its argument rounds by |x| epsilon.
    EXPECT_TRUE(near(p, expected, f32_tolerance(n) + 16 * kEpsilonF32)) << n;
    EXPECT_NEAR(log_sum, expected_log_sum,
                (f32_tolerance(n) + 16 * kEpsilonF32) * (1 + std::abs(expected_log_sum)));
    // Relative to the terms' size, not to a sum that may cancel.
    EXPECT_NEAR(dot_row(logits, expected), reference::dot_row(logits, expected),
                f32_tolerance(n) * max_abs(x));
    sigmoid_row(logits, p);
    reference::sigmoid_row(logits, expected);
    for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(p[i], expected[i], 6 * kEpsilonF32 * expected[i]);
  }
}

}  // namespace
}  // namespace unmask
