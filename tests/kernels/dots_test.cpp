#include "unmask/kernels/dots.h"

#include "tests/kernels/this_machine.h"
#include "tests/support/numeric.h"
#include <string>
#include <vector>

#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/tables.h"
#include "unmask/kernels/reference/linear.h"

namespace unmask {
namespace {

struct DotsCase {
  const char* name;
  Isa needs;
  const DotsKernel* kernel;
};
const DotsCase kDotsCases[] = {
    {"avx2", Isa::avx2, &avx2::kDots},
    {"avx512", Isa::avx512, &avx512::kDots},
};

class DotsKernels : public testing::TestWithParam<DotsCase> {};
INSTANTIATE_TEST_SUITE_P(AllInstructionSets, DotsKernels,
                         testing::ValuesIn(of_this_machine(kDotsCases)),
                         [](const auto& info) { return std::string(info.param.name); });

// Every number of outputs, rows that fill no tile, depths with a tail and above one block.
TEST_P(DotsKernels, AgreeWithTheReference) {
  const DotsKernel& kernel = *GetParam().kernel;
  for (const int64_t k : {1, 7, 16, 100, 512, 1300}) {
    for (const int64_t rows : {1, 2, 3, 4, 32}) {
      for (int64_t outputs = 1; outputs <= kernel.outputs; ++outputs) {
        SCOPED_TRACE(testing::Message() << rows << " x " << k << " -> " << outputs);
        const TestMatrix x = random_matrix(rows, k, 1, 1, k + 3);
        const TestMatrix w = random_matrix(outputs, k, 2, 1, k + 5);
        TestMatrix y(rows, outputs, outputs + 2), expected(rows, outputs);
        std::vector<float> sums(static_cast<size_t>(kernel.sums_of(rows)));
        kernel.dots({.x = x.view().data,
                     .x_stride = x.view().stride,
                     .rows = rows,
                     .w = w.view().data,
                     .w_stride = w.view().stride,
                     .outputs = outputs,
                     .w_next = w.view().data,
                     .k = k,
                     .sums = sums.data(),
                     .y = y.view().data,
                     .y_stride = y.view().stride});
        reference::linear_forward(x, w, {}, expected, Precision::f32);
        EXPECT_TRUE(near(y, expected, f32_tolerance(k)));
        EXPECT_TRUE(y.padding_intact());
      }
    }
  }
}

TEST(DotProducts, AgreeWithTheReference) {
  for (const auto& [n, k, out] : std::vector<std::array<int64_t, 3>>{
           {1, 1, 1}, {0, 5, 4}, {5, 0, 4}, {32, 2048, 256}, {49, 96, 13}, {301, 70, 8}}) {
    SCOPED_TRACE(testing::Message() << n << " x " << k << " -> " << out);
    const TestMatrix x = random_matrix(n, k, 1), w = random_matrix(out, k, 2);
    TestMatrix y = random_matrix(n, out, 3), expected(n, out);
    dot_products(x, w, y);
    reference::linear_forward(x, w, {}, expected, Precision::f32);
    EXPECT_TRUE(near(y, expected, f32_tolerance(k)));
  }
}

// What makes a request of a batch equal to itself alone.
TEST(DotProducts, DoNotDependOnOtherRowsOrThreads) {
  const int64_t n = 200, k = 700, out = 37;
  const TestMatrix x = random_matrix(n, k, 1), w = random_matrix(out, k, 2);
  const auto run = [&](int threads) {
    const ThreadCount scope(threads);
    TestMatrix y(n, out);
    dot_products(x, w, y);
    return y;
  };
  const TestMatrix all = run(1);
  EXPECT_EQ(run(2), all);
  EXPECT_EQ(run(7), all);
  for (const int64_t row : {0, 50, 199}) {
    TestMatrix alone(1, out);
    dot_products(ConstMatrix(x.view()).row_range(row, 1), w, alone);
    for (int64_t j = 0; j < out; ++j) EXPECT_EQ(alone.view()(0, j), all.view()(row, j));
  }
}

}  // namespace
}  // namespace unmask
