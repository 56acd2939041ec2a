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
  SequenceTiles tiles;
  int64_t words;
  float* data;

  // `data` holds them already, or
  RowFactor(const GemmKernel& kernel, const SequenceTiles& tiles, int64_t cols, float* data)
      : tiles(tiles), words(kernel.words(cols)), data(data) {}
  // … is taken from the arena, to be packed.
  RowFactor(const GemmKernel& kernel, const SequenceTiles& tiles, int64_t cols, Arena& arena)
      : RowFactor(kernel, tiles, cols,
                  arena.take<float>(tiles.rows * kernel.words(cols) + kPackSlack)) {}

  template <class T>
  void pack(const GemmKernel& kernel, View<const T> source) const {
    for (int64_t i = 0; i < tiles.count; ++i) {  // ascending: a tile spills into the next
      const int64_t rows = tiles.height_of(i);
      packing_of<T>(kernel.a, kernel.a_of_bf16)
          .rows(source.row(tiles.first(i)), source.stride, nullptr, rows, rows, source.cols,
                data + tiles.first(i) * words);
    }
  }
  const float* tile(int64_t i) const { return data + tiles.first(i) * words; }
};

// Tiles of A whose products sum over the rows: tile j is [words of rows][its columns]. The first
// tiles have one column more than the others, so that each kind is packed at once.
struct ColumnFactor {
  int64_t rows, cols, words, depth;
  int64_t count, width, wide;  // tiles, columns of the first ones, how many those are
  int64_t gap = 0;             // words between tiles: packing needs room
  float* data;

  // As above.
  ColumnFactor(const GemmKernel& kernel, int64_t rows, int64_t cols, float* data)
      : rows(rows),
        cols(cols),
        words(kernel.words(rows)),
        depth(kernel.depth),
        count((cols + kernel.max_rows - 1) / kernel.max_rows),
        width((cols + count - 1) / count),
        wide(count - (count * width - cols)),
        data(data) {}
  ColumnFactor(const GemmKernel& kernel, int64_t rows, int64_t cols, Arena& arena)
      : ColumnFactor(kernel, rows, cols, nullptr) {
    gap = kPackSlack;
    data = arena.take<float>(words * cols + count * gap);
  }

  template <class T>
  void pack(const GemmKernel& kernel, View<const T> source) const {
    const auto pack_tiles = [&](int64_t tile, int64_t columns, int64_t tile_width) {
      packing_of<T>(kernel.a, kernel.a_of_bf16)
          .columns(source.data + first(tile), source.stride, nullptr, columns, tile_width, rows,
                   at(tile, 0));
    };
    pack_tiles(0, first(wide), width);
    if (wide < count) pack_tiles(wide, cols - first(wide), width - 1);
  }
  int64_t first(int64_t tile) const { return tile * width - std::max<int64_t>(tile - wide, 0); }
  int64_t width_of(int64_t tile) const { return tile < wide ? width : width - 1; }
  float* at(int64_t tile, int64_t row) const {
    return data + first(tile) * words + tile * gap + row / depth * width_of(tile);
  }
  // c [columns][panel] = or += (`write`) the sum over `rows` rows from `first_row` on of column x
  // panel, for the columns of one tile; `first_row` is a whole number of words.
  void multiply_tile(const GemmKernel& kernel, int64_t tile, int64_t first_row, int64_t rows,
                     const float* panel, float* c, Write write) const {
    kernel.tile(width_of(tile), kernel.words(rows), at(tile, first_row), panel,
                c + first(tile) * kernel.cols, kernel.cols, write);
  }
  void multiply(const GemmKernel& kernel, int64_t first_row, int64_t rows, const float* panel,
                float* c, Write write) const {
    for (int64_t i = 0; i < count; ++i) {
      multiply_tile(kernel, i, first_row, rows, panel, c, write);
    }
  }
};

// Scores as a panel of B. In f32 they are one as they stand; `buffer` takes the rounded words of
// bf16.
inline const float* as_panel(const GemmKernel& kernel, Precision precision, const float* scores,
                             int64_t rows, float* buffer) {
  if (precision == Precision::f32) return scores;
  kernel.b.columns(scores, kernel.cols, nullptr, kernel.cols, kernel.cols, rows, buffer);
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
