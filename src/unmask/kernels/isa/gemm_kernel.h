#pragma once

#include <cstdint>

#include "unmask/kernels/precision.h"

namespace unmask {

// The one matrix-multiplication engine, on which dense layers, experts and attention stand.
// Both factors are packed into 32-bit words, k outermost: a word holds one f32 value of k, or, on
// machines with a bf16 dot instruction, a pair of bf16 values of consecutive k (`depth` values).
//
// Packing may write up to kPackSlack words past the end of what it packs: leave room.
//
//   packed A tile   [words][rows of the tile]      rows <= max_rows
//   packed B panel  [words][cols]                  always `cols` wide, zero-filled
//   words = ceil(k / depth)
inline constexpr int64_t kPackSlack = 16;

struct GemmKernel {
  int32_t max_rows;  // tallest tile
  int32_t cols;      // width of a panel
  int32_t depth;     // values of k in a word

  // Packs `count` source rows, row i being the i-th column of the result: [words][width].
  // Source row i is source + (index ? index[i] : i) * stride, and its k values are contiguous.
  // Columns count..width are zero. Used for A of x·Wᵀ (rows = tokens) and for B = Wᵀ (rows =
  // outputs).
  void (*pack_rows)(const float* source, int64_t stride, const int32_t* index, int64_t count,
                    int64_t width, int64_t k, float* packed);

  // Packs k source rows of `count` contiguous values each: [words][width], and where count is
  // above width as many such panels as that takes, panel_stride apart. Row p is
  // source + (index ? index[p] : p) * stride. `scale`, if given, multiplies row p by scale[p].
  // Used for B = X of dYᵀ·X and for A = dYᵀ (rows of the source = tokens = k).
  void (*pack_columns)(const float* source, int64_t stride, const int32_t* index,
                       const float* scale, int64_t count, int64_t width, int64_t k, float* packed);

  // c[r][n] = (accumulate ? c[r][n] : 0) + sum_k a[k][r] b[k][n] for r < rows and all n < cols.
  // c must have room for `cols` columns in each row.
  void (*tile)(int64_t rows, int64_t words, const float* a, const float* b, float* c,
               int64_t c_stride, bool accumulate);

  int64_t words(int64_t k) const { return (k + depth - 1) / depth; }
  int64_t panel_stride(int64_t k, int64_t width) const { return words(k) * width + kPackSlack; }
};

// The kernel of the instruction set in use (isa.h) for a precision.
const GemmKernel& gemm_kernel(Precision precision);

}  // namespace unmask
