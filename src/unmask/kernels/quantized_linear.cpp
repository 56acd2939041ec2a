#include "unmask/kernels/quantized_linear.h"

#include <algorithm>
#include <optional>

#include "unmask/base/parallel.h"
#include "unmask/kernels/activation_rows.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/quantized.h"

namespace unmask {
namespace {

// The rows of x: by all threads, and where one of them asks for its own, by that one.
InterleavedBlocks interleaved(ConstMatrix x, const QuantizedShape& shape) {
  const QuantizedKernel& kernel = quantized_kernel(shape);
  const InterleavedBlocks all(thread_scratch(), kernel, shape, x.rows);
  const RowBlocks blocks(x.rows, kernel.max_rows);
  parallel_for(blocks.count,
               [&](int64_t b) { convert_block(x, blocks.first(b), blocks.height(b), all); });
  return all;
}

}  // namespace

void linear_forward(ConstMatrix x, const QuantizedMatrix& w, ConstMatrix bias, Matrix y) {
  const QuantizedShape& s = w.shape;
  UNMASK_CHECK(x.cols == s.cols && y.rows == x.rows && y.cols == s.rows);
  if (y.empty()) return;
  if (use_reference_kernels()) return reference::linear_forward(x, w, bias, y);

  const ArenaScope whole(thread_scratch());
  std::optional<InterleavedBlocks> together;
  if (x.rows > kRowsOfThread) together.emplace(interleaved(x, s));
  parallel_tasks(s.tiles(), [&](ThreadTasks& tasks) {
    auto taken = tasks.take();
    if (taken.task < 0) return;
    ArenaScope scope(thread_scratch());
    const InterleavedBlocks rows = together ? *together : interleaved(x, s);
    float* const out = thread_scratch().take<float>(x.rows * s.kTile);
    for (; taken.task >= 0; taken = tasks.take()) {
      const int64_t i = taken.task, after = taken.next < 0 ? i : taken.next;
      const int64_t column = i * s.kTile, width = std::min(s.kTile, s.rows - column);
      for (int64_t r = 0; r < x.rows; ++r) bring_results(y.row(r) + column, width);
      multiply_tile({w, i}, rows, 0, x.rows, {w, after}, out);
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
