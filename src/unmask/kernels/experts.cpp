#include "unmask/kernels/experts.h"

#include <algorithm>

#include "unmask/base/parallel.h"
#include "unmask/kernels/coming.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/swiglu_kernel.h"
#include "unmask/kernels/packed.h"
#include "unmask/kernels/reference/experts.h"

namespace unmask {
namespace {

// Rows of one expert that one task computes: enough that packing the expert's weights again for
// another task costs little, few enough that one hot expert is shared between threads.
constexpr int64_t kRowsPerTask = 512;
// Tokens summed at a time into a weight gradient: the packed inputs stay in the second-level cache.
constexpr int64_t kTokensPerBlock = 256;
// Results of one wave of experts, in bytes a thread: they stay in the last-level cache until the
// combine has read them, and memory does not grow with the number of slots.
constexpr int64_t kWaveBytesPerThread = int64_t{8} << 20;

struct RowTask {
  int32_t expert;
  int64_t slot;  // the first
  int64_t rows;
};

struct Sizes {
  int64_t hidden, ffn;
};

ConstMatrix expert_rows(ConstMatrix stacked, int32_t expert, int64_t rows) {
  return stacked.row_range(expert * rows, rows);
}

// body(first, last) for waves of consecutive experts with at most about `slots` slots together.
template <class Body>
void for_waves(const Assignment& a, int64_t bytes_per_slot, Body body) {
  const int64_t budget = kWaveBytesPerThread * thread_count() / bytes_per_slot;
  for (int32_t first = 0; first < a.experts;) {
    int32_t last = first + 1;
    while (last < a.experts && a.expert_begin[last + 1] - a.expert_begin[first] <= budget) ++last;
    if (a.expert_begin[last] > a.expert_begin[first]) body(first, last);
    first = last;
  }
}

// The rows of experts [first, last) as tasks; the array is the calling thread's scratch.
std::span<const RowTask> row_tasks(const Assignment& a, int32_t first, int32_t last) {
  int64_t count = 0;
  for (int32_t e = first; e < last; ++e) count += (a.load(e) + kRowsPerTask - 1) / kRowsPerTask;
  RowTask* tasks = thread_scratch().take<RowTask>(count);
  RowTask* next = tasks;
  for (int32_t e = first; e < last; ++e) {
    const int64_t pieces = (a.load(e) + kRowsPerTask - 1) / kRowsPerTask;
    for (int64_t i = 0; i < pieces; ++i) {
      const int64_t begin = i * a.load(e) / pieces, end = (i + 1) * a.load(e) / pieces;
      *next++ = {e, a.expert_begin[e] + begin, end - begin};
    }
  }
  return {tasks, static_cast<size_t>(count)};
}

// y[t] += the rows of `slots` that belong to t, in ascending order of expert; row i of `slots` is
// slot slot_begin + i. `cursor[t]` runs through token t's slots from wave to wave.
void combine(const Assignment& a, ConstMatrix slots, int64_t slot_begin, int32_t* cursor,
             Matrix y) {
  constexpr int64_t kTokensPerPiece = 64;
  parallel_pieces(a.tokens, kTokensPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* const sum = y.row(t);
      for (; cursor[t] < a.token_begin[t + 1]; ++cursor[t]) {
        const int64_t row = a.token_slot[cursor[t]] - slot_begin;
        if (row >= slots.rows) break;
        const float* const addend = slots.row(row);
        for (int64_t j = 0; j < y.cols; ++j) sum[j] += addend[j];
      }
    }
  });
}

int32_t* start_cursors(const Assignment& a) {
  int32_t* cursor = thread_scratch().take<int32_t>(a.tokens);
  std::copy_n(a.token_begin.begin(), a.tokens, cursor);
  return cursor;
}

// Rows and columns [begin, begin + count), as far as there are any.
ConstMatrix some_rows(ConstMatrix m, int64_t begin, int64_t count) {
  begin = std::min(begin, m.rows);
  return m.row_range(begin, std::min(count, m.rows - begin));
}
ConstMatrix some_columns(ConstMatrix m, int64_t begin, int64_t count) {
  begin = std::min(begin, m.cols);
  return m.col_range(begin, std::min(count, m.cols - begin));
}

// x of the task's tokens through one expert. gate, up: [rows, ffn]; y: [rows, hidden] = the
// expert's output times the combine weight.
void expert_rows_forward(const GemmKernel& kernel, Sizes s, ConstMatrix x,
                         const ExpertWeights& weights, const Assignment& a, const RowTask& task,
                         Matrix gate, Matrix up, Matrix y) {
  Arena& scratch = thread_scratch();
  const RowTiles tiles(kernel, task.rows);
  const int64_t in_words = kernel.words(s.hidden), out_words = kernel.words(s.ffn);
  const int64_t in_tile = tile_stride(kernel, s.hidden), out_tile = tile_stride(kernel, s.ffn);
  float* packed = scratch.take<float>(tiles.count * std::max(in_tile, out_tile));
  float* panel = scratch.take<float>(2 * std::max(in_words, out_words) * kernel.cols + kPackSlack);
  Matrix h = scratch.matrix(task.rows, s.ffn);

  pack_tiles(kernel, {.data = x.data, .stride = x.stride, .index = &a.token[task.slot]}, 0, tiles,
             0, s.hidden, packed);
  const ConstMatrix gate_weight = expert_rows(weights.gate, task.expert, s.ffn);
  const ConstMatrix up_weight = expert_rows(weights.up, task.expert, s.ffn);
  float* up_panel = panel + in_words * kernel.cols;
  for (int64_t j = 0; j < panel_count(kernel, s.ffn); ++j) {
    const int64_t col = j * kernel.cols, width = panel_width(kernel, s.ffn, j);
    for (auto [weight, to] : {std::pair(gate_weight, panel), std::pair(up_weight, up_panel)}) {
      Operand{.data = weight.data, .stride = weight.stride}.pack_panels(kernel, col, width, 0,
                                                                        s.hidden, to);
    }
    Coming gate_next(some_rows(gate_weight, col + kernel.cols, kernel.cols), tiles.count);
    Coming up_next(some_rows(up_weight, col + kernel.cols, kernel.cols), tiles.count);
    for (int64_t i = 0; i < tiles.count; ++i) {
      gate_next.bring_share();
      up_next.bring_share();
      const int64_t row = tiles.first(i), rows = tiles.height(i);
      const float* rows_packed = packed + i * in_tile;
      run_tile(kernel, rows, width, in_words, rows_packed, panel, gate.row(row) + col, gate.stride,
               false);
      run_tile(kernel, rows, width, in_words, rows_packed, up_panel, up.row(row) + col, up.stride,
               false);
      for (int64_t r = row; r < row + rows; ++r) {
        swiglu_kernel().forward(width, gate.row(r) + col, up.row(r) + col, a.gate[task.slot + r],
                                h.row(r) + col);
      }
    }
  }

  pack_tiles(kernel, {.data = h.data, .stride = h.stride}, 0, tiles, 0, s.ffn, packed);
  const ConstMatrix down_weight = expert_rows(weights.down, task.expert, s.hidden);
  for (int64_t j = 0; j < panel_count(kernel, s.hidden); ++j) {
    const int64_t col = j * kernel.cols, width = panel_width(kernel, s.hidden, j);
    Operand{.data = down_weight.data, .stride = down_weight.stride}.pack_panels(kernel, col, width,
                                                                                0, s.ffn, panel);
    Coming next(some_rows(down_weight, col + kernel.cols, kernel.cols), tiles.count);
    for (int64_t i = 0; i < tiles.count; ++i) {
      next.bring_share();
      run_tile(kernel, tiles.height(i), width, out_words, packed + i * out_tile, panel,
               y.row(tiles.first(i)) + col, y.stride, false);
    }
  }
}

// The next kPanelsAtOnce panels, or as many as there are, from column `col` on.
void pack_transposed(const GemmKernel& kernel, ConstMatrix weight, int64_t col, float* panels) {
  Operand{.data = weight.data, .stride = weight.stride, .k_contiguous = false}.pack_panels(
      kernel, col, std::min(kPanelsAtOnce * kernel.cols, weight.cols - col), 0, weight.rows,
      panels);
}

// From dy of the task's tokens: gradients before and after the SwiGLU, and dx of each slot.
// d_gate, d_up, h (times the combine weight): [rows, ffn]; dx: [rows, hidden]; d_weight: [rows].
void expert_rows_backward(const GemmKernel& kernel, Sizes s, ConstMatrix dy,
                          const ExpertWeights& weights, const Assignment& a, const RowTask& task,
                          ConstMatrix gate, ConstMatrix up, Matrix d_gate, Matrix d_up, Matrix h,
                          Matrix dx, std::span<float> d_weight) {
  Arena& scratch = thread_scratch();
  const RowTiles tiles(kernel, task.rows);
  const int64_t in_words = kernel.words(s.hidden), out_words = kernel.words(s.ffn);
  const int64_t in_tile = tile_stride(kernel, s.hidden), out_tile = tile_stride(kernel, s.ffn);
  float* packed = scratch.take<float>(tiles.count * std::max(in_tile, 2 * out_tile));
  const int64_t in_panel = kernel.panel_stride(s.hidden, kernel.cols);
  const int64_t out_panel = kernel.panel_stride(s.ffn, kernel.cols);
  float* panels = scratch.take<float>(kPanelsAtOnce * std::max(in_panel, 2 * out_panel));
  float* dh = scratch.take<float>(kernel.max_rows * kernel.cols);

  pack_tiles(kernel, {.data = dy.data, .stride = dy.stride, .index = &a.token[task.slot]}, 0, tiles,
             0, s.hidden, packed);
  const ConstMatrix down_weight = expert_rows(weights.down, task.expert, s.hidden);
  std::fill(d_weight.begin(), d_weight.end(), 0.0f);
  const int64_t group = kPanelsAtOnce * kernel.cols, shares = kPanelsAtOnce * tiles.count;
  Coming next({}, shares);
  for (int64_t j = 0; j < panel_count(kernel, s.ffn); ++j) {
    const int64_t col = j * kernel.cols, width = panel_width(kernel, s.ffn, j);
    const int64_t place = j % kPanelsAtOnce;
    if (place == 0) {
      pack_transposed(kernel, down_weight, col, panels);
      next = Coming(some_columns(down_weight, col + group, group), shares);
    }
    const float* panel = panels + place * in_panel;
    for (int64_t i = 0; i < tiles.count; ++i) {
      const int64_t row = tiles.first(i);
      next.bring_share();
      for (int64_t r = row; r < row + tiles.height(i); ++r) {
        for (ConstMatrix m : {gate, up, ConstMatrix(d_gate), ConstMatrix(d_up), ConstMatrix(h)}) {
          bring(m.row(r) + col, width);
        }
      }
      kernel.tile(tiles.height(i), in_words, packed + i * in_tile, panel, dh, kernel.cols, false);
      for (int64_t r = row; r < row + tiles.height(i); ++r) {
        d_weight[r] += swiglu_kernel().backward(
            width, gate.row(r) + col, up.row(r) + col, dh + (r - row) * kernel.cols,
            a.gate[task.slot + r], d_gate.row(r) + col, d_up.row(r) + col, h.row(r) + col);
      }
    }
  }

  float* packed_up = packed + tiles.count * out_tile;
  pack_tiles(kernel, {.data = d_gate.data, .stride = d_gate.stride}, 0, tiles, 0, s.ffn, packed);
  pack_tiles(kernel, {.data = d_up.data, .stride = d_up.stride}, 0, tiles, 0, s.ffn, packed_up);
  const ConstMatrix gate_weight = expert_rows(weights.gate, task.expert, s.ffn);
  const ConstMatrix up_weight = expert_rows(weights.up, task.expert, s.ffn);
  Coming gate_next({}, shares), up_next({}, shares);
  float* up_panels = panels + kPanelsAtOnce * out_panel;
  for (int64_t j = 0; j < panel_count(kernel, s.hidden); ++j) {
    const int64_t col = j * kernel.cols, width = panel_width(kernel, s.hidden, j);
    const int64_t place = j % kPanelsAtOnce;
    if (place == 0) {
      pack_transposed(kernel, gate_weight, col, panels);
      pack_transposed(kernel, up_weight, col, up_panels);
      gate_next = Coming(some_columns(gate_weight, col + group, group), shares);
      up_next = Coming(some_columns(up_weight, col + group, group), shares);
    }
    const float* panel = panels + place * out_panel;
    const float* up_panel = up_panels + place * out_panel;
    for (int64_t i = 0; i < tiles.count; ++i) {
      const int64_t row = tiles.first(i), rows = tiles.height(i);
      gate_next.bring_share();
      up_next.bring_share();
      run_tile(kernel, rows, width, out_words, packed + i * out_tile, panel, dx.row(row) + col,
               dx.stride, false);
      run_tile(kernel, rows, width, out_words, packed_up + i * out_tile, up_panel,
               dx.row(row) + col, dx.stride, true);
    }
  }
}

// Rows [first, first + rows) of dw += Aᵀ·B over the tokens of one expert, where column i of A is
// row i of dw. Several A with one B share its packing.
struct WeightGradient {
  Operand a;
  Matrix dw;
};

void weight_gradients(const GemmKernel& kernel, std::span<const WeightGradient> products,
                      const Operand& b, int64_t tokens, int64_t part, int64_t parts) {
  Arena& scratch = thread_scratch();
  const int64_t cols = products.front().dw.cols, rows_at_once = kTilesAtOnce * kernel.max_rows;
  const int64_t panels = panel_count(kernel, cols);
  const int64_t most = std::min(kTokensPerBlock, tokens);
  float* packed_a = scratch.take<float>(kTilesAtOnce * tile_stride(kernel, most));
  float* packed_b = scratch.take<float>(panels * kernel.panel_stride(most, kernel.cols));
  for (int64_t begin = 0; begin < tokens; begin += kTokensPerBlock) {
    const int64_t k = std::min(kTokensPerBlock, tokens - begin);
    b.pack_panels(kernel, 0, cols, begin, k, packed_b);
    for (const WeightGradient& product : products) {
      const int64_t last = (part + 1) * product.dw.rows / parts;
      for (int64_t first = part * product.dw.rows / parts; first < last; first += rows_at_once) {
        const RowTiles tiles(kernel, std::min(rows_at_once, last - first));
        pack_tiles(kernel, product.a, first, tiles, begin, k, packed_a);
        for (int64_t i = 0; i < tiles.count; ++i) {
          for (int64_t j = 0; j < panels; ++j) {
            run_tile(kernel, tiles.height(i), panel_width(kernel, cols, j), kernel.words(k),
                     packed_a + i * tile_stride(kernel, k),
                     packed_b + j * kernel.panel_stride(k, kernel.cols),
                     product.dw.row(first + tiles.first(i)) + j * kernel.cols, product.dw.stride,
                     true);
          }
        }
      }
    }
  }
}

Sizes sizes_of(ConstMatrix x, const ExpertWeights& weights, const Assignment& a) {
  const Sizes s = {x.cols, weights.down.cols};
  UNMASK_CHECK(x.rows == a.tokens);
  UNMASK_CHECK(weights.gate.rows == a.experts * s.ffn && weights.gate.cols == s.hidden);
  UNMASK_CHECK(weights.up.rows == a.experts * s.ffn && weights.up.cols == s.hidden);
  UNMASK_CHECK(weights.down.rows == a.experts * s.hidden);
  return s;
}

}  // namespace

void experts_forward(ConstMatrix x, const ExpertWeights& weights, const Assignment& a, Matrix y,
                     Arena* tape, ExpertsSaved* saved, Precision precision) {
  const Sizes s = sizes_of(x, weights, a);
  if (saved != nullptr) {
    saved->gate = tape->matrix(a.slots(), s.ffn);
    saved->up = tape->matrix(a.slots(), s.ffn);
  }
  if (use_reference_kernels())
    return reference::experts_forward(x, weights, a, y, saved, precision);

  const GemmKernel& kernel = gemm_kernel(precision);
  ArenaScope scope(thread_scratch());
  int32_t* cursor = start_cursors(a);
  for_waves(a, s.hidden * int64_t{sizeof(float)}, [&](int32_t first, int32_t last) {
    ArenaScope wave_scope(thread_scratch());
    const int64_t slot_begin = a.expert_begin[first];
    Matrix slots = thread_scratch().matrix(a.expert_begin[last] - slot_begin, s.hidden);
    const std::span<const RowTask> tasks = row_tasks(a, first, last);
    parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
      const RowTask& task = tasks[i];
      ArenaScope task_scope(thread_scratch());
      const auto keep = [&](Matrix ExpertsSaved::*field) {
        return saved != nullptr ? (saved->*field).row_range(task.slot, task.rows)
                                : thread_scratch().matrix(task.rows, s.ffn);
      };
      const Matrix gate = keep(&ExpertsSaved::gate), up = keep(&ExpertsSaved::up);
      expert_rows_forward(kernel, s, x, weights, a, task, gate, up,
                          slots.row_range(task.slot - slot_begin, task.rows));
    });
    combine(a, slots, slot_begin, cursor, y);
  });
}

void experts_backward(ConstMatrix x, const ExpertWeights& weights, const Assignment& a,
                      const ExpertsSaved& saved, ConstMatrix dy, Matrix dx, std::span<float> d_gate,
                      const ExpertGradients& gradients, Precision precision) {
  const Sizes s = sizes_of(x, weights, a);
  if (use_reference_kernels()) {
    return reference::experts_backward(x, weights, a, saved, dy, dx, d_gate, gradients, precision);
  }

  const GemmKernel& kernel = gemm_kernel(precision);
  ArenaScope scope(thread_scratch());
  int32_t* cursor = start_cursors(a);
  for_waves(a, (s.hidden + 3 * s.ffn) * int64_t{sizeof(float)}, [&](int32_t first, int32_t last) {
    ArenaScope wave_scope(thread_scratch());
    const int64_t slot_begin = a.expert_begin[first];
    const int64_t slot_count = a.expert_begin[last] - slot_begin;
    Arena& scratch = thread_scratch();
    Matrix dx_slots = scratch.matrix(slot_count, s.hidden);
    Matrix d_gate_slots = scratch.matrix(slot_count, s.ffn);
    Matrix d_up_slots = scratch.matrix(slot_count, s.ffn);
    Matrix h_slots = scratch.matrix(slot_count, s.ffn);
    const std::span<const RowTask> tasks = row_tasks(a, first, last);
    parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
      const RowTask& task = tasks[i];
      ArenaScope task_scope(thread_scratch());
      const auto rows_of = [&](Matrix m) { return m.row_range(task.slot - slot_begin, task.rows); };
      expert_rows_backward(
          kernel, s, dy, weights, a, task, saved.gate.row_range(task.slot, task.rows),
          saved.up.row_range(task.slot, task.rows), rows_of(d_gate_slots), rows_of(d_up_slots),
          rows_of(h_slots), rows_of(dx_slots), d_gate.subspan(task.slot, task.rows));
    });

    // Two products for each expert, cut further when the wave has few experts.
    const int64_t experts = last - first;
    const int64_t parts = std::max<int64_t>(1, 2 * thread_count() / experts);
    parallel_for(experts * parts * 2, [&](int64_t i) {
      const int32_t e = first + static_cast<int32_t>(i / (2 * parts));
      const int64_t part = i / 2 % parts, row = a.expert_begin[e] - slot_begin;
      const int64_t tokens = a.load(e);
      if (tokens == 0) return;
      ArenaScope task_scope(thread_scratch());
      const auto of_slots = [&](Matrix m) {
        return Operand{.data = m.row(row), .stride = m.stride, .k_contiguous = false};
      };
      const auto of_tokens = [&](ConstMatrix m) {
        return Operand{.data = m.data,
                       .stride = m.stride,
                       .index = &a.token[a.expert_begin[e]],
                       .k_contiguous = false};
      };
      if (i % 2 == 0) {
        const WeightGradient products[] = {
            {of_slots(d_gate_slots), gradients.gate.row_range(e * s.ffn, s.ffn)},
            {of_slots(d_up_slots), gradients.up.row_range(e * s.ffn, s.ffn)}};
        weight_gradients(kernel, products, of_tokens(x), tokens, part, parts);
      } else {
        const WeightGradient product[] = {
            {of_tokens(dy), gradients.down.row_range(e * s.hidden, s.hidden)}};
        weight_gradients(kernel, product, of_slots(h_slots), tokens, part, parts);
      }
    });
    combine(a, dx_slots, slot_begin, cursor, dx);
  });
}

}  // namespace unmask
