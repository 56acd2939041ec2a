#include "unmask/kernels/cross_entropy.h"

#include "tests/support/numeric.h"
#include <algorithm>
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

struct CrossEntropyShape {
  int64_t rows, cols, padding;
  float scale = 2.0f;
};

class CrossEntropy : public testing::TestWithParam<CrossEntropyShape> {
 protected:
  const CrossEntropyShape shape = GetParam();
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
                         testing::Values(CrossEntropyShape{3, 1, 0}, CrossEntropyShape{4, 15, 2},
                                         CrossEntropyShape{4, 16, 0}, CrossEntropyShape{4, 17, 3},
                                         CrossEntropyShape{4, 33, 0}, CrossEntropyShape{70, 257, 7},
                                         CrossEntropyShape{5, 1000, 0, 20.0f},
                                         CrossEntropyShape{2, 100003, 0}));

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

// The confidence term. Every other row predicts its target.
class ConfidentCrossEntropy : public CrossEntropy {
 protected:
  ConfidentCrossEntropy() {
    for (int64_t r = 0; r < n; r += 2) {
      const float* row = logits.view().row(r);
      right_targets[r] = static_cast<int32_t>(std::max_element(row, row + vocab) - row);
    }
  }
  std::vector<int32_t> right_targets = targets;
  TestMatrix entropy{1, n};
  const float beta = 2;
  // Two sums of `vocab` terms stand behind the entropy; those cancel where it is small beside them.
  const double entropy_tolerance = f32_tolerance(64);
};

TEST_P(ConfidentCrossEntropy, AgreesWithTwin) {
  TestMatrix expected = logits, expected_loss(1, n), expected_entropy(1, n);
  reference::confident_cross_entropy(expected, right_targets, beta, weight.flat(),
                                     expected_loss.flat(), expected_entropy.flat());
  confident_cross_entropy(logits, right_targets, beta, weight.flat(), loss.flat(), entropy.flat());
  EXPECT_TRUE(near(loss, expected_loss, loss_tolerance));
  EXPECT_TRUE(near(entropy, expected_entropy, entropy_tolerance));
  EXPECT_TRUE(near(logits, expected, 4 * gradient_tolerance));
  EXPECT_TRUE(logits.padding_intact());
}

TEST_P(ConfidentCrossEntropy, IsCrossEntropyWherePredictionsAreWrongOrTheTermIsOff) {
  TestMatrix plain = logits, off = logits, plain_loss(1, n);
  cross_entropy(plain, right_targets, weight.flat(), plain_loss.flat());
  confident_cross_entropy(off, right_targets, 0, weight.flat(), loss.flat(), entropy.flat());
  EXPECT_TRUE(near(loss, plain_loss, loss_tolerance));
  EXPECT_TRUE(near(off, plain, gradient_tolerance));
  confident_cross_entropy(logits, right_targets, beta, weight.flat(), loss.flat(), entropy.flat());
  for (int64_t r = 0; r < n; ++r) {
    const float* row = plain.view().row(r);
    const bool same = std::equal(row, row + vocab, logits.view().row(r));
    EXPECT_EQ(same, entropy(0, r) == 0.0f) << r;
  }
}

TEST_P(ConfidentCrossEntropy, WithoutWeightsLeavesLogits) {
  const TestMatrix before = logits;
  TestMatrix loss_with(1, n), entropy_with(1, n);
  confident_cross_entropy(logits, right_targets, beta, {}, loss.flat(), entropy.flat());
  EXPECT_EQ(logits, before);
  confident_cross_entropy(logits, right_targets, beta, weight.flat(), loss_with.flat(),
                          entropy_with.flat());
  EXPECT_EQ(loss_with, loss);
  EXPECT_EQ(entropy_with, entropy);
}

TEST_P(ConfidentCrossEntropy, InstructionSetsAgree) {
  if (isa_in_use() == Isa::avx2) GTEST_SKIP() << "AVX2 only";
  for (int64_t r = 0; r < n; ++r) {
    TestMatrix narrow = logits;
    const auto row = [&](const ElementwiseKernel& kernel, TestMatrix& x, float& h) {
      return kernel.confident_cross_entropy_row(vocab, x.view().row(r), right_targets[r], beta,
                                                &weight(0, r), &h);
    };
    float narrow_entropy = 0, wide_entropy = 0;
    const float a = row(avx2::kElementwise, narrow, narrow_entropy);
    const float b = row(avx512::kElementwise, logits, wide_entropy);
    EXPECT_NEAR(a, b, loss_tolerance * std::max(1.0f, std::abs(b)));
    EXPECT_NEAR(narrow_entropy, wide_entropy, entropy_tolerance * std::max(1.0f, wide_entropy));
    EXPECT_TRUE(near(narrow, logits, 4 * gradient_tolerance));
    EXPECT_TRUE(narrow.padding_intact() && logits.padding_intact());
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ConfidentCrossEntropy,
                         testing::Values(CrossEntropyShape{3, 1, 0}, CrossEntropyShape{4, 15, 2},
                                         CrossEntropyShape{4, 17, 3}, CrossEntropyShape{70, 257, 7},
                                         CrossEntropyShape{5, 1000, 0, 20.0f},
                                         CrossEntropyShape{2, 100003, 0}));

TEST(ConfidentCrossEntropyGradient, AgreesWithFiniteDifferences) {
  const int64_t n = 3, vocab = 21;
  TestMatrix x = random_matrix(n, vocab, 1), weight = random_matrix(1, n, 2), scaled = weight;
  const std::vector<int32_t> targets = {0, 20, 7};
  x(0, 0) = x(2, 7) = 3.5f;  // right, by more than the steps of the differences; the second wrong
  x(1, 20) = -1.0f;
  const float beta = 1.5f;
  for (float& w : scaled.flat()) w *= beta;
  TestMatrix losses(1, n), entropies(1, n);
  TestMatrix gradient = x;
  confident_cross_entropy(gradient, targets, beta, weight.flat(), losses.flat(), entropies.flat());
  EXPECT_GT(entropies(0, 0), 0);
  EXPECT_EQ(entropies(0, 1), 0);
  EXPECT_TRUE(gradient_matches(x, gradient, [&] {
    confident_cross_entropy(x, targets, beta, {}, losses.flat(), entropies.flat());
    return weighted_loss(weight, losses) + weighted_loss(scaled, entropies);
  }));
}

TEST(ConfidentCrossEntropyRow, SurvivesExtremeLogits) {
  const float infinity = std::numeric_limits<float>::infinity();
  TestMatrix logits(4, 20), loss(1, 4), entropy(1, 4), weight(1, 4);
  for (int64_t r = 0; r < 4; ++r) weight(0, r) = 1;
  for (int64_t j = 0; j < 20; ++j) {
    logits(0, j) = j == 4 ? 3e38f : -3e38f;  // their difference overflows
    logits(1, j) = j == 4 ? 0.0f : -infinity;
    logits(2, j) = 1000.0f;  // equals are right; the entropy is greatest, and flat
    logits(3, j) = j == 7 ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
  }
  confident_cross_entropy(logits, std::vector<int32_t>{4, 4, 19, 3}, 2, weight.flat(), loss.flat(),
                          entropy.flat());
  for (const int64_t r : {0, 1}) {
    EXPECT_EQ(loss(0, r), 0);
    EXPECT_EQ(entropy(0, r), 0);
  }
  EXPECT_EQ(max_abs(logits.view().row_range(0, 2)), 0);
  EXPECT_NEAR(loss(0, 2), std::log(20.0), 1e-6);
  EXPECT_NEAR(entropy(0, 2), std::log(20.0), 1e-6);
  EXPECT_NEAR(logits(2, 0), 0.05, 1e-6);
  EXPECT_NEAR(logits(2, 19), 0.05 - 1, 1e-6);
  EXPECT_TRUE(std::isnan(loss(0, 3)));
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
  TestMatrix weight = random_matrix(1, n, 3);
  const auto with_threads = [&](int count) {
    const ThreadCount threads(count);
    std::vector<TestMatrix> results = {logits, TestMatrix(1, n), logits, TestMatrix(1, n),
                                       TestMatrix(1, n)};
    cross_entropy(results[0], targets, weight.flat(), results[1].flat());
    confident_cross_entropy(results[2], targets, 2, weight.flat(), results[3].flat(),
                            results[4].flat());
    return results;
  };
  EXPECT_EQ(with_threads(1), with_threads(2));
}

}  // namespace
}  // namespace unmask
