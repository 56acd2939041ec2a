#include "unmask/kernels/matmul.h"

#include "unmask/base/parallel.h"
#include "unmask/kernels/coming.h"

namespace unmask {
namespace {

// What is packed after columns [col, col + width) for k in [k_begin, k_begin + depth), where B's
// source has a row for each of its n columns.
ConstMatrix next_part(const Operand& b, int64_t n, int64_t col, int64_t width, int64_t k_begin,
                      int64_t depth, int64_t k) {
  if (!b.k_contiguous || b.index != nullptr) return {};
  const ConstMatrix source(b.data, n, k, b.stride);
  if (k_begin + depth < k) {
    const int64_t begin = k_begin + depth;
    return source.row_range(col, width).col_range(begin, std::min(kDepthBlock, k - begin));
  }
  const int64_t begin = std::min(col + width, n);
  return source.row_range(begin, std::min(width, n - begin)).col_range(0, std::min(kDepthBlock, k));
}

// With few rows nobody shares a packed panel: a task packs its own, and brings the next one from
// memory while it multiplies.
void matmul_few_rows(const Operand& a, const Operand& b, int64_t k, Matrix c, Write write,
                     const GemmKernel& kernel) {
  const RowBlocks tiles(c.rows, kernel.max_rows);
  const int64_t block_words = tiles.count * tile_stride(kernel, kDepthBlock);
  ArenaScope scope(thread_scratch());
  float* packed_a = thread_scratch().take<float>((k + kDepthBlock - 1) / kDepthBlock * block_words);
  for (int64_t k_begin = 0, i = 0; k_begin < k; k_begin += kDepthBlock, ++i) {
    pack_tiles(kernel, a, 0, tiles, k_begin, std::min(kDepthBlock, k - k_begin),
               packed_a + i * block_words);
  }
  parallel_for(panel_count(kernel, c.cols), [&](int64_t j) {
    ArenaScope task_scope(thread_scratch());
    float* panel = thread_scratch().take<float>(kernel.panel_stride(kDepthBlock, kernel.cols));
    const int64_t col = j * kernel.cols, width = panel_width(kernel, c.cols, j);
    for (int64_t k_begin = 0, i = 0; k_begin < k || k_begin == 0; k_begin += kDepthBlock, ++i) {
      const int64_t depth = std::min(kDepthBlock, k - k_begin);
      b.pack_panels(kernel, col, width, k_begin, depth, panel);
      Coming coming(next_part(b, c.cols, col, width, k_begin, depth, k), tiles.count);
      for (int64_t t = 0; t < tiles.count; ++t) {
        coming.bring_share();
        run_tile(kernel, tiles.height(t), width, kernel.words(depth),
                 packed_a + i * block_words + t * tile_stride(kernel, depth), panel,
                 c.row(tiles.first(t)) + col, c.stride, k_begin > 0 ? Write::add : write);
      }
    }
  });
}

}  // namespace

void matmul(const Operand& a, const Operand& b, int64_t k, Matrix c, Write write,
            Precision precision) {
  if (c.empty()) return;
  const GemmKernel& kernel = gemm_kernel(precision);
  const int64_t panels = panel_count(kernel, c.cols);
  const int64_t chunk_rows = kTilesAtOnce * kernel.max_rows;
  const int64_t chunks = (c.rows + chunk_rows - 1) / chunk_rows;
  if (chunks == 1 && panels >= thread_count()) {
    return matmul_few_rows(a, b, k, c, write, kernel);
  }
  // With few rows, columns are shared out too: enough tasks for every thread.
  const int64_t wanted = 4 * thread_count();
  const int64_t parts = std::clamp<int64_t>(wanted / chunks, 1, panels);

  ArenaScope scope(thread_scratch());
  float* packed_b =
      thread_scratch().take<float>(panels * kernel.panel_stride(kDepthBlock, kernel.cols));
  const int64_t at_once = std::clamp<int64_t>(panels / thread_count(), 1, kPanelsAtOnce);

  for (int64_t k_begin = 0; k_begin < k || k_begin == 0; k_begin += kDepthBlock) {
    const int64_t depth = std::min(kDepthBlock, k - k_begin);
    const int64_t words = kernel.words(depth);
    const int64_t panel_stride = kernel.panel_stride(depth, kernel.cols);
    const auto pack_panels = [&](int64_t first, int64_t last) {
      const int64_t col = first * kernel.cols, end = std::min(last * kernel.cols, c.cols);
      b.pack_panels(kernel, col, end - col, k_begin, depth, packed_b + first * panel_stride);
    };
    parallel_pieces(panels, at_once, pack_panels);
    parallel_for(chunks * parts, [&](int64_t task) {
      const int64_t row = task / parts * chunk_rows;
      const int64_t part = task % parts;
      const RowBlocks tiles(std::min(chunk_rows, c.rows - row), kernel.max_rows);
      ArenaScope task_scope(thread_scratch());
      float* packed_a = thread_scratch().take<float>(tiles.count * tile_stride(kernel, depth));
      pack_tiles(kernel, a, row, tiles, k_begin, depth, packed_a);
      for (int64_t j = part * panels / parts; j < (part + 1) * panels / parts; ++j) {
        for (int64_t i = 0; i < tiles.count; ++i) {
          run_tile(kernel, tiles.height(i), panel_width(kernel, c.cols, j), words,
                   packed_a + i * tile_stride(kernel, depth), packed_b + j * panel_stride,
                   c.row(row + tiles.first(i)) + j * kernel.cols, c.stride,
                   k_begin > 0 ? Write::add : write);
        }
      }
    });
  }
}

}  // namespace unmask
