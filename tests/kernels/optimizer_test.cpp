#include "unmask/kernels/optimizer.h"

#include "tests/support/numeric.h"
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/kernels/isa/elementwise_kernel.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/tables.h"
#include "unmask/kernels/reference/optimizer.h"

namespace unmask {
namespace {

struct Buffers {
  explicit Buffers(int64_t n)
      : parameter(random_matrix(1, n, 1)), gradient(1, n), first(1, n), second(1, n) {}
  void update(const AdamW& adamw) {
    adamw_update(adamw, parameter.flat(), gradient.flat(), first.flat(), second.flat());
  }
  bool operator==(const Buffers& other) const = default;

  TestMatrix parameter, gradient, first, second;
};

AdamW settings(int64_t step) {
  AdamW adamw;
  adamw.learning_rate = 0.01f;
  adamw.weight_decay = 0.1f;
  adamw.gradient_scale = 0.5f;
  adamw.step = step;
  return adamw;
}

class AdamWSizes : public testing::TestWithParam<int64_t> {};

// Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019), algorithm 2, one
// element at a time in f64, over several steps: state is carried in f64, so errors that grow from
// step to step would show.
TEST_P(AdamWSizes, FollowsThePaper) {
  const int64_t n = GetParam();
  const int64_t steps = 7;
  Buffers b(n);
  std::vector<double> p(n), m(n), v(n);
  for (int64_t i = 0; i < n; ++i) p[i] = b.parameter(0, i);
  for (int64_t t = 1; t <= steps; ++t) {
    const AdamW adamw = settings(t);
    b.gradient = random_matrix(1, n, 100 + t);
    for (int64_t i = 0; i < n; ++i) {
      const double g = 0.5 * b.gradient(0, i);
      m[i] = adamw.beta1 * m[i] + (1 - double{adamw.beta1}) * g;
      v[i] = adamw.beta2 * v[i] + (1 - double{adamw.beta2}) * g * g;
      const double m_hat = m[i] / (1 - std::pow(double{adamw.beta1}, t));
      const double v_hat = v[i] / (1 - std::pow(double{adamw.beta2}, t));
      p[i] -= adamw.learning_rate *
              (m_hat / (std::sqrt(v_hat) + adamw.epsilon) + double{adamw.weight_decay} * p[i]);
    }
    b.update(adamw);
  }
  TestMatrix expected_p(1, n), expected_m(1, n), expected_v(1, n);
  for (int64_t i = 0; i < n; ++i) {
    expected_p(0, i) = static_cast<float>(p[i]);
    expected_m(0, i) = static_cast<float>(m[i]);
    expected_v(0, i) = static_cast<float>(v[i]);
  }
  EXPECT_TRUE(near(b.parameter, expected_p, f32_tolerance(steps)));
  EXPECT_TRUE(near(b.first, expected_m, f32_tolerance(steps)));
  EXPECT_TRUE(near(b.second, expected_v, f32_tolerance(steps)));
}

TEST_P(AdamWSizes, AgreesWithTwin) {
  const int64_t n = GetParam();
  Buffers fast(n), plain(n);
  for (int64_t t = 1; t <= 3; ++t) {
    fast.gradient = plain.gradient = random_matrix(1, n, 200 + t);
    fast.update(settings(t));
    reference::adamw_update(settings(t), plain.parameter.flat(), plain.gradient.flat(),
                            plain.first.flat(), plain.second.flat(), {});
  }
  EXPECT_TRUE(near(fast.parameter, plain.parameter, f32_tolerance(3)));
  EXPECT_TRUE(near(fast.first, plain.first, f32_tolerance(3)));
  EXPECT_TRUE(near(fast.second, plain.second, f32_tolerance(3)));
}

TEST_P(AdamWSizes, InstructionSetsAgreeExactly) {
  if (isa_in_use() == Isa::avx2) GTEST_SKIP() << "AVX2 only";
  const int64_t n = GetParam();
  const AdamWStep step = {0.5f, 0.9f, 0.95f, 0.999f, 0.01f, 2.0f, 1e-8f};
  Buffers narrow(n), wide(n);
  narrow.gradient = wide.gradient = random_matrix(1, n, 3);
  const auto update = [&](const ElementwiseKernel& kernel, Buffers& b) {
    kernel.adamw(step, n, b.parameter.flat().data(), b.gradient.flat().data(),
                 b.first.flat().data(), b.second.flat().data());
  };
  update(avx2::kElementwise, narrow);
  update(avx512::kElementwise, wide);
  EXPECT_EQ(narrow, wide);
}

INSTANTIATE_TEST_SUITE_P(Sizes, AdamWSizes, testing::Values(1, 15, 16, 17, 33, 1000, 70000));

TEST(AdamW, LeavesWhatLiesBehind) {
  for (const int64_t n : {1, 7, 15, 17}) {
    Buffers b(n + 1);
    b.gradient = b.first = b.second = random_matrix(1, n + 1, 5);
    const Buffers before = b;
    adamw_update(settings(1), b.parameter.flat().first(n), b.gradient.flat().first(n),
                 b.first.flat().first(n), b.second.flat().first(n));
    for (const auto member :
         {&Buffers::parameter, &Buffers::gradient, &Buffers::first, &Buffers::second}) {
      EXPECT_EQ((b.*member)(0, n), (before.*member)(0, n));
    }
  }
}

TEST(AdamW, RoundsWhatItUpdated) {
  for (const int64_t n : {1, 15, 33, 20000}) {
    Buffers b(n);
    b.gradient = random_matrix(1, n, 5);
    Buffer memory(sizeof(bf16) * (n + 1));
    const std::span<bf16> rounded(memory.as<bf16>(), n + 1);
    rounded[n] = bf16(777.0f);
    adamw_update(settings(1), b.parameter.flat(), b.gradient.flat(), b.first.flat(),
                 b.second.flat(), rounded.first(n));
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(rounded[i].bits, bf16(b.parameter(0, i)).bits) << i << " of " << n;
    }
    EXPECT_EQ(rounded[n].bits, bf16(777.0f).bits);
  }
}

TEST(AdamW, DecayIsDecoupledFromTheGradient) {
  Buffers b(3);
  const TestMatrix before = b.parameter;
  b.update(settings(1));  // gradient zero
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(b.parameter(0, i), before(0, i) * (1 - 0.01 * 0.1), 2 * kEpsilonF32);
  }
}

TEST(AdamW, FirstStepIsTheLearningRate) {
  // Bias correction makes the first step learning_rate * sign(g), whatever the size of g.
  for (const float size : {1e-6f, 1.0f, 1e6f}) {
    Buffers b(1);
    AdamW adamw = settings(1);
    adamw.weight_decay = 0;
    adamw.epsilon = 0;
    b.parameter(0, 0) = 0;
    b.gradient(0, 0) = -size;
    b.update(adamw);
    EXPECT_NEAR(b.parameter(0, 0), 0.01f, 0.01 * f32_tolerance(8));
  }
}

TEST(AdamW, ThreadCountChangesNothing) {
  const int64_t n = 200001;
  Buffers one(n), two(n);
  one.gradient = two.gradient = random_matrix(1, n, 2);
  {
    ThreadCount threads(1);
    one.update(settings(1));
  }
  ThreadCount threads(2);
  two.update(settings(1));
  EXPECT_EQ(one, two);
}

TEST(SquaredNorm, IsExactToF64AndIndependentOfThreads) {
  for (const int64_t n : {0, 1, 15, 16, 17, 1000, 65536, 300001}) {
    TestMatrix x = random_matrix(1, n, 9, 1e15f);  // squares overflow f32 sums of this many
    const double expected = reference::squared_norm(x.flat());
    double one = 0;
    {
      ThreadCount threads(1);
      one = squared_norm(x.flat());
    }
    ThreadCount threads(2);
    EXPECT_EQ(squared_norm(x.flat()), one);
    // Both are sums of n roundings of 2^-53 of positive terms.
    EXPECT_NEAR(one, expected, static_cast<double>(n) * 0x1p-53 * expected);
  }
}

}  // namespace
}  // namespace unmask
