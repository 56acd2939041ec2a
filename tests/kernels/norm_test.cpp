#include "unmask/kernels/norm.h"

#include "tests/support/numeric.h"

#include <gtest/gtest.h>

#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/tables.h"
#include "unmask/kernels/reference/norm.h"

namespace unmask {
namespace {

constexpr float kNormEpsilon = 1e-6f;

struct NormShape {
  int64_t rows, cols, padding;
};

class RmsNorm : public testing::TestWithParam<NormShape> {
 protected:
  const NormShape shape = GetParam();
  const int64_t n = shape.rows, d = shape.cols, stride = shape.cols + shape.padding;
  TestMatrix x = random_matrix(n, d, 1, 2.0f, stride);
  TestMatrix gain = random_matrix(1, d, 2);
  TestMatrix dy = random_matrix(n, d, 3, 1.0f, stride);
  TestMatrix y{n, d, stride};
  TestMatrix inv_rms{n, 1};
  // What the residual branch and earlier batches have left.
  TestMatrix dx = random_matrix(n, d, 4, 1.0f, stride);
  TestMatrix dgain = random_matrix(1, d, 5);
};

TEST_P(RmsNorm, ForwardAgreesWithTwin) {
  TestMatrix expected(n, d), expected_inv(n, 1);
  rms_norm_forward(x, gain, kNormEpsilon, y, inv_rms);
  reference::rms_norm_forward(x, gain, kNormEpsilon, expected, expected_inv);
  EXPECT_TRUE(near(y, expected, f32_tolerance(d)));
  EXPECT_TRUE(near(inv_rms, expected_inv, f32_tolerance(d)));
  EXPECT_TRUE(y.padding_intact());

  TestMatrix without(n, d);
  rms_norm_forward(x, gain, kNormEpsilon, without, Matrix());
  EXPECT_TRUE(near(without, y, 0));
}

TEST_P(RmsNorm, BackwardAgreesWithTwin) {
  rms_norm_forward(x, gain, kNormEpsilon, y, inv_rms);
  TestMatrix expected_dx = dx, expected_dgain = dgain;
  TestMatrix dx_without = dx;
  rms_norm_backward(x, gain, inv_rms, dy, dx, dgain);
  reference::rms_norm_backward(x, gain, inv_rms, dy, expected_dx, expected_dgain);
  EXPECT_TRUE(near(dx, expected_dx, f32_tolerance(d)));
  EXPECT_TRUE(near(dgain, expected_dgain, f32_tolerance(n)));
  EXPECT_TRUE(dx.padding_intact());

  rms_norm_backward(x, gain, inv_rms, dy, dx_without, Matrix());
  EXPECT_EQ(dx_without, dx);
}

// The rows of both instruction sets, whichever this machine prefers.
TEST_P(RmsNorm, InstructionSetsAgree) {
  if (isa_in_use() == Isa::avx2) GTEST_SKIP() << "AVX2 only";
  TestMatrix narrow = y, narrow_dx = dx, narrow_dgain = dgain;
  for (int64_t r = 0; r < n; ++r) {
    const auto run = [&](const NormKernel& kernel, TestMatrix& out, TestMatrix& out_dx,
                         TestMatrix& out_dgain) {
      const float s =
          kernel.forward(d, x.view().row(r), gain.flat().data(), kNormEpsilon, out.view().row(r));
      kernel.backward(d, x.view().row(r), gain.flat().data(), s, dy.view().row(r),
                      out_dx.view().row(r), out_dgain.flat().data());
    };
    run(avx2::kNorm, narrow, narrow_dx, narrow_dgain);
    run(avx512::kNorm, y, dx, dgain);
  }
  EXPECT_TRUE(near(narrow, y, f32_tolerance(d)));
  EXPECT_TRUE(near(narrow_dx, dx, f32_tolerance(d)));
  EXPECT_TRUE(near(narrow_dgain, dgain, f32_tolerance(n)));
  EXPECT_TRUE(narrow.padding_intact() && narrow_dx.padding_intact());
}

TEST_P(RmsNorm, ThreadCountChangesNothing) {
  rms_norm_forward(x, gain, kNormEpsilon, y, inv_rms);
  TestMatrix dx_one = dx, dgain_one = dgain;
  {
    ThreadCount one(1);
    rms_norm_backward(x, gain, inv_rms, dy, dx_one, dgain_one);
  }
  ThreadCount two(2);
  rms_norm_backward(x, gain, inv_rms, dy, dx, dgain);
  EXPECT_EQ(dx, dx_one);
  EXPECT_EQ(dgain, dgain_one);
}

INSTANTIATE_TEST_SUITE_P(Shapes, RmsNorm,
                         testing::Values(NormShape{1, 1, 0}, NormShape{3, 15, 2},
                                         NormShape{2, 16, 0}, NormShape{5, 17, 3},
                                         NormShape{4, 33, 0}, NormShape{300, 128, 0},
                                         NormShape{33, 1000, 24}, NormShape{2, 9000, 0}));

TEST(RmsNormGradient, AgreesWithFiniteDifferences) {
  const int64_t n = 5, d = 19;
  TestMatrix x = random_matrix(n, d, 11), gain = random_matrix(1, d, 12);
  const TestMatrix w = random_matrix(n, d, 13);
  TestMatrix y(n, d), inv_rms(n, 1), dx(n, d), dgain(1, d);
  const auto loss = [&] {
    rms_norm_forward(x, gain, kNormEpsilon, y, inv_rms);
    return weighted_loss(w, y);
  };
  loss();
  rms_norm_backward(x, gain, inv_rms, w, dx, dgain);
  EXPECT_TRUE(gradient_matches(x, dx, loss));
  EXPECT_TRUE(gradient_matches(gain, dgain, loss));
}

TEST(RmsNormForward, EpsilonKeepsZerosFinite) {
  TestMatrix x(1, 8), y(1, 8), inv_rms(1, 1), gain = random_matrix(1, 8, 1);
  rms_norm_forward(x, gain, 1e-6f, y, inv_rms);
  EXPECT_EQ(max_abs(y), 0);
  EXPECT_NEAR(inv_rms(0, 0), 1000, 1000 * f32_tolerance(1));
}

}  // namespace
}  // namespace unmask
