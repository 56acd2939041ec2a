#include "unmask/kernels/rope.h"

#include "tests/support/numeric.h"
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/tables.h"
#include "unmask/kernels/reference/rope.h"

namespace unmask {
namespace {

constexpr float kRopeEpsilon = 1e-6f;
constexpr int32_t kPositions = 50;

struct Case {
  int64_t rows;
  int32_t heads, head_dim, dims;
  bool norm;
  int64_t padding;
};

class QkNormRope : public testing::TestWithParam<Case> {
 protected:
  const Case c = GetParam();
  const int64_t n = c.rows, width = int64_t{c.heads} * c.head_dim, stride = width + c.padding;
  const RopeTable rope{kPositions, c.dims, 10000.0f};
  const std::vector<int32_t> positions = random_ids(n, kPositions, 7);
  TestMatrix x = random_matrix(n, width, 1, 2.0f, stride);
  TestMatrix gain_values = random_matrix(1, c.head_dim, 2);
  const ConstMatrix gain = c.norm ? ConstMatrix(gain_values.view()) : ConstMatrix();
  TestMatrix dy = random_matrix(n, width, 3, 1.0f, stride);
  TestMatrix y{n, width, stride};
  TestMatrix inv_rms{n, c.heads};
  TestMatrix dx{n, width, stride};
  TestMatrix dgain_values = random_matrix(1, c.head_dim, 4);
  const Matrix dgain = c.norm ? dgain_values.view() : Matrix();

  void forward() {
    qk_norm_rope_forward(x, gain, kRopeEpsilon, rope, positions, c.head_dim, y, inv_rms);
  }
};

TEST_P(QkNormRope, ForwardAgreesWithTwin) {
  TestMatrix expected(n, width), expected_inv(n, c.heads);
  forward();
  reference::qk_norm_rope_forward(x, gain, kRopeEpsilon, rope, positions, c.head_dim, expected,
                                  expected_inv);
  EXPECT_TRUE(near(y, expected, f32_tolerance(c.head_dim)));
  EXPECT_TRUE(near(inv_rms, expected_inv, f32_tolerance(c.head_dim)));
  EXPECT_TRUE(y.padding_intact());
}

TEST_P(QkNormRope, BackwardAgreesWithTwin) {
  forward();
  TestMatrix expected(n, width), expected_gain = dgain_values;
  qk_norm_rope_backward(x, gain, inv_rms, rope, positions, c.head_dim, dy, dx, dgain);
  reference::qk_norm_rope_backward(x, gain, inv_rms, rope, positions, c.head_dim, dy, expected,
                                   c.norm ? expected_gain.view() : Matrix());
  EXPECT_TRUE(near(dx, expected, f32_tolerance(c.head_dim)));
  EXPECT_TRUE(near(dgain_values, expected_gain, f32_tolerance(n * c.heads)));
  EXPECT_TRUE(dx.padding_intact());
}

// The rows of both instruction sets, whichever this machine prefers.
TEST_P(QkNormRope, InstructionSetsAgree) {
  if (isa_in_use() == Isa::avx2) GTEST_SKIP() << "AVX2 only";
  TestMatrix narrow = y, narrow_inv = inv_rms, narrow_dx = dx, narrow_dgain = dgain_values;
  for (int64_t r = 0; r < n; ++r) {
    const NormKernel::Heads row = {.heads = c.heads,
                                   .n = c.head_dim,
                                   .half = c.dims / 2,
                                   .cosine = rope.cos_of(positions[r]),
                                   .sine = rope.sin_of(positions[r]),
                                   .gain = gain.data};
    const auto run = [&](const NormKernel& kernel, TestMatrix& out, TestMatrix& inv,
                         TestMatrix& out_dx, TestMatrix& out_dgain) {
      kernel.rotate_forward(row, x.view().row(r), kRopeEpsilon, out.view().row(r),
                            inv.view().row(r));
      kernel.rotate_backward(row, x.view().row(r), inv.view().row(r), dy.view().row(r),
                             out_dx.view().row(r), out_dgain.flat().data());
    };
    run(avx2::kNorm, narrow, narrow_inv, narrow_dx, narrow_dgain);
    run(avx512::kNorm, y, inv_rms, dx, dgain_values);
  }
  EXPECT_TRUE(near(narrow, y, f32_tolerance(c.head_dim)));
  EXPECT_TRUE(near(narrow_inv, inv_rms, f32_tolerance(c.head_dim)));
  EXPECT_TRUE(near(narrow_dx, dx, f32_tolerance(c.head_dim)));
  EXPECT_TRUE(near(narrow_dgain, dgain_values, f32_tolerance(n * c.heads)));
  EXPECT_TRUE(narrow.padding_intact() && narrow_dx.padding_intact());
}

TEST_P(QkNormRope, MayWriteOverItsInput) {
  forward();
  qk_norm_rope_backward(x, gain, inv_rms, rope, positions, c.head_dim, dy, dx, Matrix());
  qk_norm_rope_backward(x, gain, inv_rms, rope, positions, c.head_dim, dy, dy, Matrix());
  EXPECT_EQ(dy, dx);
  if (!c.norm) {
    qk_norm_rope_forward(x, gain, kRopeEpsilon, rope, positions, c.head_dim, x, Matrix());
    EXPECT_EQ(x, y);
  }
}

TEST_P(QkNormRope, ThreadCountChangesNothing) {
  forward();
  TestMatrix dx_one = dx, dgain_one = dgain_values;
  {
    ThreadCount one(1);
    qk_norm_rope_backward(x, gain, inv_rms, rope, positions, c.head_dim, dy, dx_one,
                          c.norm ? dgain_one.view() : Matrix());
  }
  ThreadCount two(2);
  qk_norm_rope_backward(x, gain, inv_rms, rope, positions, c.head_dim, dy, dx, dgain);
  EXPECT_EQ(dx, dx_one);
  EXPECT_EQ(dgain_values, dgain_one);
}

INSTANTIATE_TEST_SUITE_P(Cases, QkNormRope,
                         testing::Values(Case{3, 1, 2, 2, true, 0}, Case{5, 2, 32, 32, true, 7},
                                         Case{5, 3, 32, 16, true, 0}, Case{4, 2, 30, 10, true, 1},
                                         Case{3, 2, 25, 8, true, 0}, Case{4, 3, 32, 32, false, 5},
                                         Case{4, 1, 128, 64, false, 0},
                                         Case{200, 4, 32, 32, true, 64},
                                         Case{2, 2, 8, 0, true, 0}));

TEST(QkNormRopeGradient, AgreesWithFiniteDifferences) {
  const int32_t heads = 2, head_dim = 12;
  const int64_t n = 3, width = heads * head_dim;
  const RopeTable rope(kPositions, 8, 100.0f);
  const std::vector<int32_t> positions = {0, 7, 49};
  TestMatrix x = random_matrix(n, width, 1), gain = random_matrix(1, head_dim, 2);
  const TestMatrix w = random_matrix(n, width, 3);
  TestMatrix y(n, width), inv_rms(n, heads), dx(n, width), dgain(1, head_dim);
  const auto loss = [&] {
    qk_norm_rope_forward(x, gain, kRopeEpsilon, rope, positions, head_dim, y, inv_rms);
    return weighted_loss(w, y);
  };
  loss();
  qk_norm_rope_backward(x, gain, inv_rms, rope, positions, head_dim, w, dx, dgain);
  EXPECT_TRUE(gradient_matches(x, dx, loss));
  EXPECT_TRUE(gradient_matches(gain, dgain, loss));
}

TEST(Rope, TableHoldsTheAnglesOfThePaper) {
  // Su et al., "RoFormer" (2021), section 3.2.2: theta_i = base^(-2i / d).
  const RopeTable rope(5000, 6, 10000.0f);
  for (const int32_t p : {0, 1, 4999}) {
    for (int32_t i = 0; i < 3; ++i) {
      const double angle = p * std::pow(10000.0, -2.0 * i / 6);
      EXPECT_NEAR(rope.cos_of(p)[i], std::cos(angle), 2 * kEpsilonF32);
      EXPECT_NEAR(rope.sin_of(p)[i], std::sin(angle), 2 * kEpsilonF32);
    }
  }
}

TEST(Rope, ScoresDependOnDistanceOnly) {
  const int32_t d = 16;
  const RopeTable rope(kPositions, d, 10000.0f);
  const auto score = [&](int32_t query_position, int32_t key_position) {
    TestMatrix qk = random_matrix(2, d, 5);
    qk_norm_rope_forward(qk, ConstMatrix(), 0, rope, std::vector{query_position, key_position}, d,
                         qk, Matrix());
    double sum = 0;
    for (int64_t i = 0; i < d; ++i) sum += double{qk(0, i)} * qk(1, i);
    return sum;
  };
  EXPECT_NEAR(score(3, 10), score(40, 47), d * f32_tolerance(d));
  EXPECT_GT(std::abs(score(3, 10) - score(3, 11)), 0.01);
}

}  // namespace
}  // namespace unmask
