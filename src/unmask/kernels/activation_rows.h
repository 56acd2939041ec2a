#pragma once

#include <cstdint>

#include "unmask/base/arena.h"
#include "unmask/base/prefetch.h"
#include "unmask/base/view.h"
#include "unmask/kernels/isa/quantized_kernel.h"
#include "unmask/kernels/quantized_matrix.h"
#include "unmask/kernels/row_blocks.h"

// Activations for products with packed weights (quantized_matrix.h).
namespace unmask {

// One row in the form that meets weights of a shape: bf16 pairs, or levels -127..127 with one scale
// for the whole row, largest |x| / 127. A row that is not finite has the scale NaN.
struct ActivationRow {
  uint32_t* words = nullptr;  // [row_words]
  int32_t* start = nullptr;   // [groups] -bias * (sum of the group's levels); integers only
  float* scale = nullptr;     // [1]; integers only
};

// Rows of one shape, from an arena.
class ActivationRows {
 public:
  ActivationRows(Arena& arena, const QuantizedShape& shape, int64_t rows);

  ActivationRow operator[](int64_t i) const {
    return {words_ + i * shape_.row_words(), start_ + i * shape_.groups(), scale_ + i};
  }
  const QuantizedShape& shape() const { return shape_; }

 private:
  QuantizedShape shape_;
  uint32_t* words_;
  int32_t* start_;
  float* scale_;
};

// x [cols of the shape] into `row`.
void convert_row(const QuantizedShape& shape, const float* x, const ActivationRow& row);

// Up to so many rows are converted by each thread that multiplies them, which takes less time than
// to fetch what another core has converted; more are shared out among the threads beforehand.
inline constexpr int64_t kRowsOfThread = 64;

// Blocks of at most max_rows interleaved rows: the rows of one expert are cut into blocks of nearly
// equal height.
class InterleavedBlocks {
 public:
  // Room for `rows` rows.
  InterleavedBlocks(Arena& arena, const QuantizedKernel& kernel, const QuantizedShape& shape,
                    int64_t rows);

  // Interleaves `count` rows, row_of(i) being the i-th, as rows [first, first + count).
  template <class RowOf>
  void fill(int64_t first, int64_t count, RowOf row_of) const {
    constexpr int64_t kMostRows = 32;
    UNMASK_CHECK(count <= kMostRows);
    const uint32_t* words[kMostRows];
    const int64_t groups = shape_.groups();
    for (int64_t i = 0; i < count; ++i) {
      const ActivationRow row = row_of(i);
      words[i] = row.words;
      if (!shape_.integers()) continue;
      scale_[first + i] = *row.scale;
      for (int64_t g = 0; g < groups; ++g) start_[first * groups + g * count + i] = row.start[g];
    }
    kernel_.interleave(words, count, shape_.row_words(),
                       words_ + first * shape_.row_words() * kernel_.words);
  }

  // Rows [first, first + count), as they were filled.
  InterleavedRows block(int64_t first, int64_t count) const {
    return {count, words_ + first * shape_.row_words() * kernel_.words,
            start_ + first * shape_.groups(), scale_ + first};
  }

  const QuantizedKernel& kernel() const { return kernel_; }
  const QuantizedShape& shape() const { return shape_; }

 private:
  const QuantizedKernel& kernel_;
  QuantizedShape shape_;
  uint32_t* words_;
  int32_t* start_;
  float* scale_;
};

// Rows [first, first + count) of x, converted, as those of `to`.
void convert_block(ConstMatrix x, int64_t first, int64_t count, const InterleavedBlocks& to);

// One tile of a matrix.
struct TileOf {
  const QuantizedMatrix& matrix;
  int64_t index;
};

// Fetches `width` values that results of the next product will be written over: stores to lines
// that are in no cache wait for them.
inline void bring_results(const float* to, int64_t width) {
  for (int64_t i = 0; i < width; i += kLineFloats) __builtin_prefetch(to + i, 1);
}

// out [count][32] = the rows [first, first + count) of x times the tile. `next` is the tile of the
// same size that this thread will read afterwards, to be fetched ahead; the tile itself is given
// when there is none.
void multiply_tile(const TileOf& tile, const InterleavedBlocks& x, int64_t first, int64_t count,
                   const TileOf& next, float* out);

}  // namespace unmask
