#pragma once

#include <cstdint>

#include "unmask/base/bf16.h"
#include "unmask/base/prefetch.h"
#include "unmask/kernels/precision.h"
#include "unmask/kernels/write.h"

namespace unmask {

// The one matrix-multiplication engine, on which dense layers, experts and attention stand.
// Both factors are packed into 32-bit words, k outermost: a word holds one f32 value of k, or, on
// machines with a bf16 dot instruction, a pair of bf16 values of consecutive k (`depth` values).
//
// Packing may write up to kPackSlack words past the end of what it packs, and a tile may read as
// many: leave room.
//
//   packed A tile   [words][rows of the tile]      rows <= max_rows
//                   [words / 16][rows][16]         for matrix registers (AMX)
//   packed B panel  [words][cols]                  always `cols` wide, zero-filled
//   words = ceil(k / depth), up to a multiple of word_step; those past k are zero
inline constexpr int64_t kPackSlack = 256;

// How one factor is packed. `width` entries (rows of a tile of A, columns of a panel of B) stand
// side by side; entries count..width are zero. T is float or bf16.
template <class T>
struct PackingOf {
  // From `count` source rows, an entry each, with k contiguous values; entry i is
  // source + (index ? index[i] : i) * stride. Used for A of x·Wᵀ (rows = tokens) and for B = Wᵀ
  // (rows = outputs).
  void (*rows)(const T* source, int64_t stride, const int32_t* index, int64_t count, int64_t width,
               int64_t k, float* packed);

  // From k source rows of `count` contiguous values, an entry each; where count is above width,
  // as many tiles or panels as that takes, panel_stride apart. Row p is
  // source + (index ? index[p] : p) * stride. Used for B = X of dYᵀ·X and for A = dYᵀ (rows of the
  // source = tokens = k).
  void (*columns)(const T* source, int64_t stride, const int32_t* index, int64_t count,
                  int64_t width, int64_t k, float* packed);
};

using Packing = PackingOf<float>;

struct GemmKernel {
  int32_t max_rows;   // tallest tile
  int32_t cols;       // width of a panel
  int32_t depth;      // values of k in a word
  int32_t word_step;  // words that are multiplied together
  // Words after which results may be added to memory: then this costs little beside the products.
  int32_t words_at_once;

  Packing a, b;
  PackingOf<bf16> a_of_bf16, b_of_bf16;  // of a kernel for Precision::bf16: the same words from
                                         // values that are rounded already

  // c[r][n] = or += sum_k a[k][r] b[k][n] for r < rows and all n < cols. c must have room for
  // `cols` columns in each row.
  void (*tile)(int64_t rows, int64_t words, const float* a, const float* b, float* c,
               int64_t c_stride, Write write);

  int64_t words(int64_t k) const {
    const int64_t step = int64_t{depth} * word_step;
    return (k + step - 1) / step * word_step;
  }
  int64_t panel_stride(int64_t k, int64_t width) const { return words(k) * width + kPackSlack; }
};

// The kernel of the instruction set in use (isa.h) for a precision.
const GemmKernel& gemm_kernel(Precision precision);

}  // namespace unmask
