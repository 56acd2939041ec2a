#include "unmask/kernels/cross_entropy.h"

#include "tests/support/numeric.h"
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/kernels/isa/elementwise_kernel.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/tables.h"
#include "unmask/kernels/reference/cross_entropy.h"

namespace unmask {
namespace {

struct Shape {
  int64_t rows, cols, padding;
  float scale = 2.0f;
};

class CrossEntropy : public testing::TestWithParam<Shape> {
 protected:
  const Shape shape = GetParam();
  const int64_t n = shape.rows, vocab = shape.cols;
  TestMatrix logits = random_matrix(n, vocab, 1, shape.scale, vocab + shape.padding);
  const std::vector<int32_t> targets = random_ids(n, static_cast<int32_t>(vocab), 2);
  TestMatrix weight = random_matrix(1, n, 3);
  TestMatrix loss{1, n};
  // The logits themselves are given to f32, so the loss is good to their size in epsilon.
  const double loss_tolerance = 4 * kEpsilonF32;
  const double gradient_tolerance = f32_tolerance(8);
};

TEST_P(CrossEntropy, AgreesWithTwin) {
  TestMatrix expected = logits, expected_loss(1, n);
  reference::cross_entropy(expected, targets, weight.flat(), expected_loss.flat());
  cross_entropy(logits, targets, weight.flat(), loss.flat());
  EXPECT_TRUE(near(loss, expected_loss, loss_tolerance));
  EXPECT_TRUE(near(logits, expected, gradient_tolerance));
  EXPECT_TRUE(logits.padding_intact());
}

TEST_P(CrossEntropy, WithoutWeightsLeavesLogits) {
  const TestMatrix before = logits;
  TestMatrix with(1, n);
  cross_entropy(logits, targets, {}, loss.flat());
  EXPECT_EQ(logits, before);
  cross_entropy(logits, targets, weight.flat(), with.flat());
  EXPECT_EQ(with, loss);
}

// The rows of both instruction sets, whichever this machine prefers.
TEST_P(CrossEntropy, InstructionSetsAgree) {
  if (isa_in_use() == Isa::avx2) GTEST_SKIP() << "AVX2 only";
  for (int64_t r = 0; r < n; ++r) {
    TestMatrix narrow = logits;
    const float a = avx2::kElementwise.cross_entropy_row(vocab, narrow.view().row(r), targets[r],
                                                         &weight(0, r));
    const float b = avx512::kElementwise.cross_entropy_row(vocab, logits.view().row(r), targets[r],
                                                           &weight(0, r));
    EXPECT_NEAR(a, b, loss_tolerance * std::max(1.0f, std::abs(b)));
    EXPECT_TRUE(near(narrow, logits, gradient_tolerance));
    EXPECT_TRUE(narrow.padding_intact() && logits.padding_intact());
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CrossEntropy,
                         testing::Values(Shape{3, 1, 0}, Shape{4, 15, 2}, Shape{4, 16, 0},
                                         Shape{4, 17, 3}, Shape{4, 33, 0}, Shape{70, 257, 7},
                                         Shape{5, 1000, 0, 20.0f}, Shape{2, 100003, 0}));

TEST(CrossEntropyGradient, AgreesWithFiniteDifferences) {
  const int64_t n = 3, vocab = 21;
  TestMatrix x = random_matrix(n, vocab, 1), weight = random_matrix(1, n, 2);
  const std::vector<int32_t> targets = {0, 20, 7};
  TestMatrix losses(1, n);
  TestMatrix gradient = x;
  cross_entropy(gradient, targets, weight.flat(), losses.flat());
  EXPECT_TRUE(gradient_matches(x, gradient, [&] {
    cross_entropy(x, targets, {}, losses.flat());
    return weighted_loss(weight, losses);
  }));
}

TEST(CrossEntropyRow, SurvivesExtremeLogits) {
  const float infinity = std::numeric_limits<float>::infinity();
  TestMatrix logits(3, 20), loss(1, 3), weight(1, 3);
  for (int64_t r = 0; r < 3; ++r) weight(0, r) = 1;
  for (int64_t j = 0; j < 20; ++j) {
    logits(0, j) = j == 4 ? 3e38f : -3e38f;  // their difference overflows
    logits(1, j) = j == 4 ? 0.0f : -infinity;
    logits(2, j) = 1000.0f;
  }
  cross_entropy(logits, std::vector<int32_t>{4, 4, 19}, weight.flat(), loss.flat());
  EXPECT_EQ(loss(0, 0), 0);
  EXPECT_EQ(loss(0, 1), 0);
  EXPECT_NEAR(loss(0, 2), std::log(20.0), 1e-6);
  EXPECT_EQ(max_abs(logits.view().row_range(0, 2)), 0);
  EXPECT_NEAR(logits(2, 19), 0.05 - 1, 1e-6);
}

TEST(CrossEntropyRow, FindsTheLargestLogitAnywhere) {
  for (int64_t place = 0; place < 37; ++place) {
    TestMatrix logits(1, 37), loss(1, 1);
    logits(0, place) = 500.0f;  // e^500 is beyond f32 unless this one is subtracted
    cross_entropy(logits, std::vector<int32_t>{3}, {}, loss.flat());
    EXPECT_EQ(loss(0, 0), place == 3 ? 0.0f : 500.0f) << place;
  }
}

TEST(CrossEntropyRow, ReportsNan) {
  for (const int64_t place : {0, 15, 16, 19}) {
    TestMatrix logits = random_matrix(1, 20, 1), loss(1, 1);
    logits(0, place) = std::numeric_limits<float>::quiet_NaN();
    cross_entropy(logits, std::vector<int32_t>{3}, {}, loss.flat());
    EXPECT_TRUE(std::isnan(loss(0, 0))) << place;
  }
}

TEST(CrossEntropyRow, ThreadCountChangesNothing) {
  const int64_t n = 130, vocab = 257;
  const TestMatrix logits = random_matrix(n, vocab, 1);
  const std::vector<int32_t> targets = random_ids(n, vocab, 2);
  TestMatrix weight = random_matrix(1, n, 3), loss_one(1, n), loss_two(1, n);
  TestMatrix one = logits, two = logits;
  {
    ThreadCount threads(1);
    cross_entropy(one, targets, weight.flat(), loss_one.flat());
  }
  ThreadCount threads(2);
  cross_entropy(two, targets, weight.flat(), loss_two.flat());
  EXPECT_EQ(one, two);
  EXPECT_EQ(loss_one, loss_two);
}

}  // namespace
}  // namespace unmask
