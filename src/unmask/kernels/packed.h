#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "unmask/base/arena.h"
#include "unmask/kernels/isa/gemm_kernel.h"
#include "unmask/kernels/row_blocks.h"

// The loops around a GemmKernel that dense layers and experts share: tiles of A, panels of B.
namespace unmask {

// The one of a factor's two packings that reads T.
template <class T>
const PackingOf<T>& packing_of(const Packing& of_f32, const PackingOf<bf16>& of_bf16) {
  if constexpr (std::is_same_v<T, bf16>) {
    return of_bf16;
  } else {
    return of_f32;
  }
}

// One factor of a product as it lies in memory.
template <class T>
struct OperandOf {
  const T* data = nullptr;
  int64_t stride = 0;
  const int32_t* index = nullptr;  // gathers source rows
  bool k_contiguous = true;        // source rows hold k values; else source rows are k

  // Words of entries [first, first + count) for k in [k_begin, k_begin + k): one tile or panel of
  // `width`, or several, panel_stride apart.
  void pack(const GemmKernel& kernel, const PackingOf<T>& packing, int64_t first, int64_t count,
            int64_t width, int64_t k_begin, int64_t k, float* packed) const {
    if (k_contiguous) {
      for (int64_t end = first + count; first < end; first += width) {
        const T* source = data + k_begin + (index ? 0 : first * stride);
        packing.rows(source, stride, index ? index + first : nullptr, std::min(width, end - first),
                     width, k, packed);
        packed += kernel.panel_stride(k, width);
      }
    } else {
      const T* source = data + first + (index ? 0 : k_begin * stride);
      packing.columns(source, stride, index ? index + k_begin : nullptr, count, width, k, packed);
    }
  }

  void pack_panels(const GemmKernel& kernel, int64_t first, int64_t count, int64_t k_begin,
                   int64_t k, float* packed) const {
    pack(kernel, packing_of<T>(kernel.b, kernel.b_of_bf16), first, count, kernel.cols, k_begin, k,
         packed);
  }
};
using Operand = OperandOf<float>;

// Columns packed together, as panels and as tiles: rows of a source whose k is not contiguous are
// then read in pieces of several cache lines, not of one or less.
inline constexpr int64_t kPanelsAtOnce = 4, kTilesAtOnce = 8;

// From one packed tile to the next, in words.
inline int64_t tile_stride(const GemmKernel& kernel, int64_t k) {
  return kernel.panel_stride(k, kernel.max_rows);
}

// Packs all rows, tile after tile.
inline void pack_tiles(const GemmKernel& kernel, const Operand& a, int64_t first_row,
                       const RowBlocks& tiles, int64_t k_begin, int64_t k, float* packed) {
  if (tiles.rows == tiles.count * kernel.max_rows) {
    a.pack(kernel, kernel.a, first_row, tiles.rows, kernel.max_rows, k_begin, k, packed);
    return;
  }
  for (int64_t i = 0; i < tiles.count; ++i) {
    a.pack(kernel, kernel.a, first_row + tiles.first(i), tiles.height(i), tiles.height(i), k_begin,
           k, packed + i * tile_stride(kernel, k));
  }
}

// A tile whose last columns may not exist.
inline void run_tile(const GemmKernel& kernel, int64_t rows, int64_t cols, int64_t words,
                     const float* a, const float* b, float* c, int64_t stride, Write write) {
  if (cols == kernel.cols) {
    kernel.tile(rows, words, a, b, c, stride, write);
    return;
  }
  constexpr int64_t kMostRows = 32, kMostCols = 32;
  float whole[kMostRows * kMostCols];
  if (write == Write::add) {
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(whole + r * kernel.cols, c + r * stride, cols * sizeof(float));
      std::memset(whole + r * kernel.cols + cols, 0, (kernel.cols - cols) * sizeof(float));
    }
  }
  kernel.tile(rows, words, a, b, whole, kernel.cols, kept_near(write));
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(c + r * stride, whole + r * kernel.cols, cols * sizeof(float));
  }
}

// Panels that `n` columns need, and how many columns panel j really has.
inline int64_t panel_count(const GemmKernel& kernel, int64_t n) {
  return (n + kernel.cols - 1) / kernel.cols;
}
inline int64_t panel_width(const GemmKernel& kernel, int64_t n, int64_t panel) {
  return std::min<int64_t>(kernel.cols, n - panel * kernel.cols);
}

// Values of k handled at a time, so that a tile of A and a panel of B stay in the inner caches.
// Every path cuts k at the same places, so sums are formed in one order whatever the tiling.
inline constexpr int64_t kDepthBlock = 512;

}  // namespace unmask
