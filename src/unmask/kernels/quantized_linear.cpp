#include "unmask/kernels/quantized_linear.h"

#include <algorithm>

#include "unmask/base/parallel.h"
#include "unmask/kernels/activation_rows.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/quantized.h"

namespace unmask {

void linear_forward(ConstMatrix x, const QuantizedMatrix& w, ConstMatrix bias, Matrix y) {
  const QuantizedShape& s = w.shape;
  UNMASK_CHECK(x.cols == s.cols && y.rows == x.rows && y.cols == s.rows);
  if (y.empty()) return;
  if (use_reference_kernels()) return reference::linear_forward(x, w, bias, y);

  const QuantizedKernel& kernel = quantized_kernel(s);
  ArenaScope scope(thread_scratch());
  const InterleavedBlocks rows(thread_scratch(), kernel, s, x.rows);
  const RowBlocks blocks(x.rows, kernel);
  parallel_for(blocks.count, [&](int64_t b) {
    ArenaScope block_scope(thread_scratch());
    const ActivationRows converted(thread_scratch(), s, blocks.height(b));
    rows.fill(blocks.first(b), blocks.height(b), [&](int64_t i) {
      convert_row(s, x.row(blocks.first(b) + i), converted[i]);
      return converted[i];
    });
  });

  parallel_for_ahead(s.tiles(), [&](int64_t i, int64_t after) {
    ArenaScope task_scope(thread_scratch());
    float* const out = thread_scratch().take<float>(x.rows * s.kTile);
    const int64_t column = i * s.kTile, width = std::min(s.kTile, s.rows - column);
    for (int64_t r = 0; r < x.rows; ++r) bring_results(y.row(r) + column, width);
    multiply_tile({w, i}, rows, 0, x.rows, {w, after < 0 ? i : after}, out);
    for (int64_t r = 0; r < x.rows; ++r) {
      float* const to = y.row(r) + column;
      for (int64_t c = 0; c < width; ++c) {
        to[c] = out[r * s.kTile + c] + (bias.empty() ? 0.0f : bias(0, column + c));
      }
    }
  });
}

}  // namespace unmask
