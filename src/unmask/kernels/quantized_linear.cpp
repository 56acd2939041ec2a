#include "unmask/kernels/quantized_linear.h"

#include <algorithm>

#include "unmask/base/parallel.h"
#include "unmask/kernels/activation_rows.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/quantized.h"

namespace unmask {
namespace {

// Weights of one task: enough that a task's start costs nothing beside them, few enough that all
// threads end together.
constexpr int64_t kTaskBytes = int64_t{128} << 10;

}  // namespace

void linear_forward(ConstMatrix x, const QuantizedMatrix& w, ConstMatrix bias, Matrix y) {
  const QuantizedShape& s = w.shape;
  UNMASK_CHECK(x.cols == s.cols && y.rows == x.rows && y.cols == s.rows);
  if (y.empty()) return;
  if (use_reference_kernels()) return reference::linear_forward(x, w, bias, y);

  const QuantizedKernel& kernel = quantized_kernel(s.format);
  ArenaScope scope(thread_scratch());
  const InterleavedBlocks rows(thread_scratch(), kernel, s, x.rows);
  const RowBlocks blocks(x.rows, kernel.max_rows);
  parallel_for(blocks.count, [&](int64_t b) {
    ArenaScope block_scope(thread_scratch());
    const ActivationRows converted(thread_scratch(), s, blocks.height(b));
    rows.fill(blocks.first(b), blocks.height(b), [&](int64_t i) {
      convert_row(s, x.row(blocks.first(b) + i), converted[i]);
      return converted[i];
    });
  });

  const int64_t tiles_per_task = std::clamp<int64_t>(kTaskBytes / s.tile_bytes(), 1, s.tiles());
  parallel_pieces(s.tiles(), tiles_per_task, [&](int64_t begin, int64_t end) {
    ArenaScope task_scope(thread_scratch());
    float* const out = thread_scratch().take<float>(x.rows * s.kTile);
    for (int64_t i = begin; i < end; ++i) {
      multiply_tile(w, i, rows, 0, x.rows, w.tile(i + 1 < end ? i + 1 : i), out);
      const int64_t column = i * s.kTile, width = std::min(s.kTile, s.rows - column);
      for (int64_t r = 0; r < x.rows; ++r) {
        float* const to = y.row(r) + column;
        for (int64_t c = 0; c < width; ++c) {
          to[c] = out[r * s.kTile + c] + (bias.empty() ? 0.0f : bias(0, column + c));
        }
      }
    }
  });
}

}  // namespace unmask
