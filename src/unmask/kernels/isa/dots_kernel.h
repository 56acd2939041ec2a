#pragma once

#include <cstdint>

namespace unmask {

// Rows of x times a few rows of w.
struct DotsTask {
  const float* x;  // [rows, k]
  int64_t x_stride;
  int64_t rows;
  const float* w;  // [outputs, k]
  int64_t w_stride;
  int64_t outputs;      // at most those of the kernel
  const float* w_next;  // what w will be in the next task of this thread, to be fetched ahead
  int64_t k;
  float* sums;  // room for sums of lanes
  float* y;     // [rows, outputs]
  int64_t y_stride;
};

struct DotsKernel {
  int32_t outputs;  // most of a task
  int32_t rows;     // at once
  int32_t lanes;

  // Floats that `sums` has room for.
  int64_t sums_of(int64_t task_rows) const {
    return (task_rows + rows - 1) / rows * rows * outputs * lanes;
  }

  // y(r, j) = x_r · w_j, each in one order of sums whatever the numbers of rows are.
  void (*dots)(const DotsTask& task);
};

const DotsKernel& dots_kernel();

}  // namespace unmask
