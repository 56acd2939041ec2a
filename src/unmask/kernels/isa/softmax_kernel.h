#pragma once

#include <cstdint>

namespace unmask {

// The softmax of attention, tile by tile. `cols` is the width of a panel of the matrix engine.
// Powers are of 2: a score s stands for the weight 2^(factor s), factor = scale log2(e).
struct SoftmaxKernel {
  // Forward. Scores are [keys][cols], one query in each column. Prepares a running softmax for
  // `rows` more keys: offset[c], an integer at least the largest factor s of the column so far
  // (-infinity: no key yet), is raised, shrink[c] = 2^(old offset - new offset) and
  // sum[c] *= shrink[c]. An integer, so that shrinking rounds nothing.
  void (*raise_offset)(const float* scores, int64_t rows, int64_t cols, float factor, float* offset,
                       float* sum, float* shrink);
  // scores = 2^(factor s - offset[c]), 0 where the offset is -infinity; sum[c] += column sums.
  void (*exponentiate)(float* scores, int64_t rows, int64_t cols, float factor, const float* offset,
                       float* sum);
  // accumulator[r][c] *= shrink[c]
  void (*scale_columns)(float* accumulator, int64_t rows, int64_t cols, const float* shrink);

  // Backward. Scores are [queries][cols], one query in each row:
  //   scores <- p  = 2^(factor s - offset[r])
  //   d_p    <- ds = p (scale d_p - centre[r])
  void (*differentiate)(float* scores, float* d_p, int64_t rows, int64_t cols, float factor,
                        float scale, const float* offset, const float* centre);
};

// The kernel of the instruction set in use (isa.h).
const SoftmaxKernel& softmax_kernel();

}  // namespace unmask
