#include "unmask/kernels/activation_rows.h"

#include <algorithm>
#include <immintrin.h>

#include "unmask/base/prefetch.h"
#include "unmask/base/processor.h"
#include "unmask/kernels/isa/activation_kernel.h"

namespace unmask {

ActivationRows::ActivationRows(Arena& arena, const QuantizedShape& shape, int64_t rows)
    : shape_(shape),
      words_(arena.take<uint32_t>(rows * shape.row_words())),
      start_(arena.take<int32_t>(rows * shape.groups())),
      scale_(arena.take<float>(rows)) {}

InterleavedBlocks::InterleavedBlocks(Arena& arena, const QuantizedKernel& kernel,
                                     const QuantizedShape& shape, int64_t rows)
    : kernel_(kernel),
      shape_(shape),
      words_(arena.take<uint32_t>(rows * shape.row_words() * kernel.words)),
      start_(arena.take<int32_t>(rows * shape.groups())),
      scale_(arena.take<float>(rows)) {}

void convert_row(const QuantizedShape& s, const float* x, const ActivationRow& row) {
  ArenaScope scope(thread_scratch());
  if (s.padded_cols() != s.cols) {
    float* padded = thread_scratch().take<float>(s.padded_cols());
    std::copy_n(x, s.cols, padded);
    std::fill_n(padded + s.cols, s.padded_cols() - s.cols, 0.0f);
    x = padded;
  }
  const ActivationKernel& kernel = activation_kernel();
  if (s.integers()) {
    *row.scale = kernel.to_levels(s.groups(), s.group, s.bias(), x, row.words, row.start);
  } else {
    kernel.to_pairs(s.row_words(), x, row.words);
  }
}

void convert_block(ConstMatrix x, int64_t first, int64_t count, const InterleavedBlocks& to) {
  const ArenaScope scope(thread_scratch());
  const ActivationRows rows(thread_scratch(), to.shape(), count);
  to.fill(first, count, [&](int64_t i) {
    convert_row(to.shape(), x.row(first + i), rows[i]);
    return rows[i];
  });
}

void multiply_tile(const TileOf& tile, const InterleavedBlocks& x, int64_t first, int64_t count,
                   const TileOf& next, float* out) {
  const QuantizedMatrix& w = tile.matrix;
  const QuantizedShape& s = w.shape;
  if (s.integers()) {
    const auto* const scales = reinterpret_cast<const char*>(next.matrix.tile_scales(next.index));
    for (int64_t i = 0; i < s.tile_scales() * int64_t{sizeof(bf16)}; i += kLineBytes) {
      _mm_prefetch(scales + i, _MM_HINT_T1);
    }
  }
  const auto find = made_by_amd() ? &find_pages_meanwhile : &find_pages;
  find(next.matrix.tile(next.index), s.tile_bytes());
  const RowBlocks blocks(count, x.kernel().max_rows);
  ArenaScope scope(thread_scratch());
  auto* const rows = thread_scratch().take<InterleavedRows>(blocks.count);
  for (int64_t b = 0; b < blocks.count; ++b) {
    rows[b] = x.block(first + blocks.first(b), blocks.height(b));
  }
  x.kernel().tile({.weights = w.tile(tile.index),
                   .scales = s.integers() ? w.tile_scales(tile.index) : nullptr,
                   .groups = s.groups(),
                   .steps = s.steps() / s.groups(),
                   .next = next.matrix.tile(next.index)},
                  rows, blocks.count, out);
}

}  // namespace unmask
