#include "unmask/kernels/elementwise.h"

#include "tests/support/numeric.h"
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/kernels/reference/elementwise.h"

namespace unmask {
namespace {

struct ElementwiseShape {
  int64_t rows, cols, padding;
};

class Elementwise : public testing::TestWithParam<ElementwiseShape> {
 protected:
  const ElementwiseShape shape = GetParam();
  const int64_t n = shape.rows, d = shape.cols, stride = shape.cols + shape.padding;
  static constexpr int32_t kVocab = 19;
  TestMatrix x = random_matrix(n, d, 1, 1.0f, stride);
  TestMatrix y = random_matrix(n, d, 2, 1.0f, stride);
  TestMatrix table = random_matrix(kVocab, d, 3, 1.0f, stride);
  TestMatrix bias = random_matrix(1, d, 4);
  const std::vector<int32_t> ids = random_ids(n, kVocab, 5);

  // Runs the kernel and its twin on copies of `start`; additions in the same order give the same
  // bits.
  template <class Kernel, class Twin>
  void expect_same(const TestMatrix& start, Kernel kernel, Twin twin, double tolerance = 0) {
    TestMatrix expected = start;
    twin(expected);
    for (const int threads : {1, 2}) {
      ThreadCount count(threads);
      TestMatrix actual = start;
      kernel(actual);
      EXPECT_TRUE(near(actual, expected, tolerance)) << threads << " threads";
      EXPECT_TRUE(actual.padding_intact());
    }
  }
};

TEST_P(Elementwise, Embedding) {
  expect_same(
      y, [&](Matrix out) { embedding_forward(table, ids, out); },
      [&](Matrix out) { reference::embedding_forward(table, ids, out); });
  expect_same(
      table, [&](Matrix dtable) { embedding_backward(ids, x, dtable); },
      [&](Matrix dtable) { reference::embedding_backward(ids, x, dtable); });
}

TEST_P(Elementwise, AddCopyFill) {
  expect_same(
      y, [&](Matrix m) { add(x, m); }, [&](Matrix m) { reference::add(x, m); });
  expect_same(
      y, [&](Matrix m) { copy(x, m); }, [&](Matrix m) { reference::copy(x, m); });
  expect_same(
      y, [&](Matrix m) { fill(0.25f, m); }, [&](Matrix m) { reference::fill(0.25f, m); });
}

TEST_P(Elementwise, Bias) {
  expect_same(
      y, [&](Matrix m) { add_bias(bias, m); }, [&](Matrix m) { reference::add_bias(bias, m); });
  expect_same(
      bias, [&](Matrix m) { bias_backward(x, m); },
      [&](Matrix m) { reference::bias_backward(x, m); }, f32_tolerance(n));
}

TEST_P(Elementwise, GatherScatter) {
  std::vector<int32_t> reversed(n);  // each row once
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  expect_same(
      y, [&](Matrix m) { gather_rows(table, ids, m); },
      [&](Matrix m) { reference::gather_rows(table, ids, m); });
  expect_same(
      y, [&](Matrix m) { scatter_add_rows(x, reversed, m); },
      [&](Matrix m) { reference::scatter_add_rows(x, reversed, m); });
}

INSTANTIATE_TEST_SUITE_P(Shapes, Elementwise,
                         testing::Values(ElementwiseShape{1, 1, 0}, ElementwiseShape{3, 15, 1},
                                         ElementwiseShape{2, 16, 0}, ElementwiseShape{4, 17, 3},
                                         ElementwiseShape{5, 33, 0}, ElementwiseShape{200, 130, 6},
                                         ElementwiseShape{9, 1000, 0}, ElementwiseShape{0, 8, 0}));

TEST(BiasBackward, ThreadCountChangesNothing) {
  const TestMatrix dy = random_matrix(1000, 100, 1);
  TestMatrix one(1, 100), two(1, 100);
  {
    ThreadCount threads(1);
    bias_backward(dy, one);
  }
  ThreadCount threads(2);
  bias_backward(dy, two);
  EXPECT_EQ(one, two);
}

TEST(Elementwise, GradientsAgreeWithFiniteDifferences) {
  const int64_t n = 6, d = 9;
  TestMatrix table = random_matrix(4, d, 1), bias = random_matrix(1, d, 2), y(n, d);
  const TestMatrix w = random_matrix(n, d, 3);
  const std::vector<int32_t> ids = {3, 0, 3, 3, 1, 0};
  const auto loss = [&] {
    embedding_forward(table, ids, y);
    add_bias(bias, y);
    return weighted_loss(w, y);
  };
  TestMatrix dtable(4, d), dbias(1, d);
  embedding_backward(ids, w, dtable);
  bias_backward(w, dbias);
  EXPECT_TRUE(gradient_matches(table, dtable, loss));
  EXPECT_TRUE(gradient_matches(bias, dbias, loss));
}

}  // namespace
}  // namespace unmask
