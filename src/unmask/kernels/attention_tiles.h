#pragma once

#include <algorithm>
#include <cstdint>

#include "unmask/base/arena.h"
#include "unmask/base/view.h"
#include "unmask/kernels/packed.h"

// The packed factors of attention. Rows are queries or keys, columns the dimensions of a head.
namespace unmask {

// `rows` cut into tiles of one height, a whole number of words so that a sum over rows may begin at
// any tile.
struct SequenceTiles {
  int64_t rows, height, count;

  SequenceTiles(const GemmKernel& kernel, int64_t rows) : rows(rows) {
    const int64_t least = std::max<int64_t>(1, (rows + kernel.max_rows - 1) / kernel.max_rows);
    height = kernel.words((rows + least - 1) / least) * kernel.depth;
    count = (rows + height - 1) / height;
  }
  int64_t first(int64_t tile) const { return std::min(tile * height, rows); }
  int64_t height_of(int64_t tile) const { return first(tile + 1) - first(tile); }
};

// Tiles of A whose products sum over the columns: tile i is [words of cols][its rows].
struct RowFactor {
  const SequenceTiles* tiles;
  int64_t words;
  float* data;

  RowFactor(const GemmKernel& kernel, const SequenceTiles& tiles, int64_t cols, Arena& arena)
      : tiles(&tiles),
        words(kernel.words(cols)),
        data(arena.take<float>(tiles.rows * words + kPackSlack)) {}

  // In ascending order: a tile spills into the next.
  void pack(const GemmKernel& kernel, ConstMatrix source, int64_t i) {
    const int64_t rows = tiles->height_of(i);
    kernel.a.rows(source.row(tiles->first(i)), source.stride, nullptr, rows, rows, source.cols,
                  data + tiles->first(i) * words);
  }
  const float* tile(int64_t i) const { return data + tiles->first(i) * words; }
};

// Tiles of A whose products sum over the rows: tile j is [words of rows][its columns].
struct ColumnFactor {
  RowTiles tiles;
  int64_t words, depth;
  float* data;

  ColumnFactor(const GemmKernel& kernel, int64_t rows, int64_t cols, Arena& arena)
      : tiles(kernel, cols),
        words(kernel.words(rows)),
        depth(kernel.depth),
        data(arena.take<float>(words * cols + tiles.count * kPackSlack)) {}

  // Rows [first, last), `first` a whole number of words; in ascending order.
  void pack(const GemmKernel& kernel, ConstMatrix source, int64_t first, int64_t last) {
    for (int64_t j = 0; j < tiles.count; ++j) {
      const int64_t width = tiles.height(j);
      kernel.a.columns(source.row(first) + tiles.first(j), source.stride, nullptr, nullptr, width,
                       width, last - first, at(j, first));
    }
  }
  float* at(int64_t tile, int64_t row) const {
    return data + tiles.first(tile) * words + tile * kPackSlack + row / depth * tiles.height(tile);
  }
  // c [columns][panel] += (or =) the sum over `rows` rows from `first_row` on of column x panel.
  void multiply(const GemmKernel& kernel, int64_t first_row, int64_t rows, const float* panel,
                float* c, bool accumulate) const {
    for (int64_t j = 0; j < tiles.count; ++j) {
      kernel.tile(tiles.height(j), kernel.words(rows), at(j, first_row), panel,
                  c + tiles.first(j) * kernel.cols, kernel.cols, set_or_add(accumulate));
    }
  }
};

// Scores as a panel of B. In f32 they are one as they stand; `buffer` takes the rounded words of
// bf16.
inline const float* as_panel(const GemmKernel& kernel, Precision precision, const float* scores,
                             int64_t rows, float* buffer) {
  if (precision == Precision::f32) return scores;
  kernel.b.columns(scores, kernel.cols, nullptr, nullptr, kernel.cols, kernel.cols, rows, buffer);
  return buffer;
}

// The engine packs widths above a tile's only in whole vectors.
inline int64_t transposed_stride(int64_t cols) { return (cols + 15) / 16 * 16; }
inline float* take_transposed(const GemmKernel& kernel, int64_t cols, Arena& arena) {
  return arena.take<float>(kernel.cols * transposed_stride(cols) + kPackSlack);
}
// [rows, cols] from a panel [cols][rows, at most kernel.cols] of the kernel; `buffer` is taken as
// above. In f32, packing rows is transposing.
inline ConstMatrix transpose_panel(const GemmKernel& kernel, const float* panel, int64_t rows,
                                   int64_t cols, float* buffer) {
  const int64_t stride = transposed_stride(cols);
  gemm_kernel(Precision::f32).b.rows(panel, kernel.cols, nullptr, cols, stride, rows, buffer);
  return ConstMatrix(buffer, rows, cols, stride);
}

}  // namespace unmask
