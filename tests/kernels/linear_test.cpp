#include "unmask/kernels/linear.h"

#include "tests/support/numeric.h"

#include "unmask/kernels/reference/linear.h"

namespace unmask {
namespace {

struct LinearShape {
  int64_t n, in, out;
};
// Ragged tails in every dimension, depths above one block, few rows, one column.
const LinearShape kLinearShapes[] = {{1, 1, 1},    {3, 5, 7},      {14, 32, 32}, {33, 17, 65},
                                     {257, 64, 3}, {30, 1100, 40}, {600, 48, 50}};

TEST(Linear, AgreesWithTheReference) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const auto [n, in, out] : kLinearShapes) {
      SCOPED_TRACE(testing::Message() << n << " x " << in << " -> " << out);
      const TestMatrix x = random_matrix(n, in, 1, 1, in + 5), w = random_matrix(out, in, 2);
      const TestMatrix bias = random_matrix(1, out, 3), dy = random_matrix(n, out, 4, 1, out + 2);
      TestMatrix y(n, out, out + 3), expected_y(n, out);
      linear_forward(x, w, bias, y, precision);
      reference::linear_forward(x, w, bias, expected_y, precision);
      EXPECT_TRUE(near(y, expected_y, f32_tolerance(in)));
      EXPECT_TRUE(y.padding_intact());

      for (const Write write : {Write::set, Write::add}) {
        TestMatrix dx = random_matrix(n, in, 5), expected_dx = dx;
        TestMatrix dw = random_matrix(out, in, 6), expected_dw = dw;
        TestMatrix db = random_matrix(1, out, 7), expected_db = db;
        linear_backward(x, w, dy, dx, dw, db, write, precision);
        reference::linear_backward(x, w, dy, expected_dx, expected_dw, expected_db, write,
                                   precision);
        EXPECT_TRUE(near(dx, expected_dx, f32_tolerance(out)));
        EXPECT_TRUE(near(dw, expected_dw, f32_tolerance(n)));
        EXPECT_TRUE(near(db, expected_db, f32_tolerance(n)));
      }
    }
  }
}

TEST(Linear, GradientsAgreeWithFiniteDifferences) {
  TestMatrix x = random_matrix(9, 20, 1), w = random_matrix(13, 20, 2);
  TestMatrix bias = random_matrix(1, 13, 3);
  const TestMatrix dy = random_matrix(9, 13, 4);
  TestMatrix y(9, 13), dx(9, 20), dw(13, 20), db(1, 13);
  linear_backward(x, w, dy, dx, dw, db, Write::set, Precision::f32);
  const auto loss = [&] {
    linear_forward(x, w, bias, y, Precision::f32);
    return weighted_loss(dy, y);
  };
  EXPECT_TRUE(gradient_matches(x, dx, loss));
  EXPECT_TRUE(gradient_matches(w, dw, loss));
  EXPECT_TRUE(gradient_matches(bias, db, loss));
}

TEST(Linear, DoesNotDependOnThreads) {
  const TestMatrix x = random_matrix(300, 700, 1), w = random_matrix(130, 700, 2);
  const TestMatrix dy = random_matrix(300, 130, 3);
  const auto run = [&](int threads) {
    const ThreadCount scope(threads);
    TestMatrix all(300 + 300 + 130, 700);
    linear_forward(x, w, {}, all.view().row_range(0, 300).col_range(0, 130), Precision::bf16);
    linear_backward(x, w, dy, all.view().row_range(300, 300), all.view().row_range(600, 130), {},
                    Write::set, Precision::bf16);
    return all;
  };
  EXPECT_EQ(run(1), run(2));
  EXPECT_EQ(run(1), run(5));
}

}  // namespace
}  // namespace unmask
