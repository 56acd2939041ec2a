#include "unmask/kernels/experts.h"

#include <algorithm>
#include <immintrin.h>

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
// Words of tokens summed at a time into a weight gradient: the packed inputs stay in the
// second-level cache.
constexpr int64_t kWordsPerBlock = 256;
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

// body(matrices) with those that the precision reads.
template <class Body>
void with_matrices(const ExpertWeights& weights, Precision precision, Body body) {
  if (precision == Precision::bf16 && !weights.rounded.gate.empty()) {
    body(weights.rounded);
  } else {
    body(static_cast<const ExpertMatrices<float>&>(weights));
  }
}

// gate, up: [ffn, hidden]; down: [hidden, ffn].
template <class T>
ExpertMatrices<T> matrices_of(const ExpertMatrices<T>& all, Sizes s, int32_t expert) {
  return {all.gate.row_range(expert * s.ffn, s.ffn), all.up.row_range(expert * s.ffn, s.ffn),
          all.down.row_range(expert * s.hidden, s.hidden)};
}

// body(first, last) for waves of consecutive experts with at most about `slots` slots together.
template <class Body>
void for_waves(const Assignment& a, int64_t bytes_per_slot, Body body) {
  const int64_t budget = kWaveBytesPerThread * thread_count() / bytes_per_slot;
  for (int32_t first = 0; first < a.experts;) {
    int32_t last = first + 1;
    while (last < a.experts && a.expert_begin[last + 1] - a.expert_begin[first] <= budget) ++last;
    body(first, last);
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

// Rows [begin, begin + count), as far as there are any.
template <class T>
View<const T> some_rows(View<const T> m, int64_t begin, int64_t count) {
  begin = std::min(begin, m.rows);
  return m.row_range(begin, std::min(count, m.rows - begin));
}

// Room for the packed tiles of a matrix [rows, hidden] or [rows, ffn].
float* take_tiles(const GemmKernel& kernel, Sizes s, const RowBlocks& tiles) {
  return thread_scratch().take<float>(tiles.count * tile_stride(kernel, std::max(s.hidden, s.ffn)));
}

void pack_all(const GemmKernel& kernel, const RowBlocks& tiles, ConstMatrix m, const int32_t* index,
              float* packed) {
  pack_tiles(kernel, {.data = m.data, .stride = m.stride, .index = index}, 0, tiles, 0, m.cols,
             packed);
}

// c [rows, n] = A·Wᵀ: A is packed; W [n, k] is packed panel by panel, the rows of the next one, or
// at the end the first of `after`, brought near meanwhile.
template <class T>
void product_with_transposed(const GemmKernel& kernel, const RowBlocks& tiles, const float* packed,
                             View<const T> w, View<const T> after, Matrix c) {
  const int64_t words = kernel.words(w.cols), stride = tile_stride(kernel, w.cols);
  ArenaScope scope(thread_scratch());
  float* panel = thread_scratch().take<float>(kernel.panel_stride(w.cols, kernel.cols));
  for (int64_t col = 0; col < w.rows; col += kernel.cols) {
    const int64_t width = std::min<int64_t>(kernel.cols, w.rows - col), end = col + width;
    OperandOf<T>{.data = w.data, .stride = w.stride}.pack_panels(kernel, col, width, 0, w.cols,
                                                                 panel);
    Coming next(end < w.rows ? some_rows(w, end, kernel.cols) : some_rows(after, 0, kernel.cols),
                tiles.count);
    for (int64_t i = 0; i < tiles.count; ++i) {
      next.bring_share();
      run_tile(kernel, tiles.height(i), width, words, packed + i * stride, panel,
               c.row(tiles.first(i)) + col, c.stride, Write::set);
    }
  }
}

// x of the task's tokens through one expert. gate, up: [rows, ffn]; y: [rows, hidden] = the
// expert's output times the combine weight.
template <class T>
void expert_rows_forward(const GemmKernel& kernel, Sizes s, ConstMatrix x,
                         const ExpertMatrices<T>& all, const Assignment& a, const RowTask& task,
                         Matrix gate, Matrix up, Matrix y) {
  const RowBlocks tiles(task.rows, kernel.max_rows);
  float* packed = take_tiles(kernel, s, tiles);
  Matrix h = thread_scratch().matrix(task.rows, s.ffn);
  const ExpertMatrices<T> w = matrices_of(all, s, task.expert);

  pack_all(kernel, tiles, x, &a.token[task.slot], packed);
  product_with_transposed(kernel, tiles, packed, w.gate, w.up, gate);
  product_with_transposed(kernel, tiles, packed, w.up, w.down, up);
  for (int64_t r = 0; r < task.rows; ++r) {
    swiglu_kernel().forward(s.ffn, gate.row(r), up.row(r), a.gate[task.slot + r], h.row(r));
  }
  pack_all(kernel, tiles, h, nullptr, packed);
  product_with_transposed(kernel, tiles, packed, w.down, View<const T>(), y);
}

// c [rows, n] = A·W, or += (`write`): A is packed; W [k, n] is read as it lies, a piece of
// consecutive rows at a time, the next piece, or at the end the first of `after`, brought near
// meanwhile.
template <class T>
void product_with(const GemmKernel& kernel, const RowBlocks& tiles, const float* packed,
                  View<const T> w, View<const T> after, Matrix c, Write write) {
  const int64_t piece = std::min<int64_t>(kernel.words_at_once * kernel.depth, w.rows);
  const int64_t panels = panel_count(kernel, w.cols), stride = tile_stride(kernel, w.rows);
  ArenaScope scope(thread_scratch());
  float* packed_w = thread_scratch().take<float>(panels * kernel.panel_stride(piece, kernel.cols));
  for (int64_t begin = 0; begin < w.rows; begin += piece) {
    const int64_t k = std::min(piece, w.rows - begin), end = begin + k;
    OperandOf<T>{.data = w.data, .stride = w.stride, .k_contiguous = false}.pack_panels(
        kernel, 0, w.cols, begin, k, packed_w);
    Coming next(end < w.rows ? some_rows(w, end, piece) : some_rows(after, 0, piece),
                panels * tiles.count);
    for (int64_t j = 0; j < panels; ++j) {
      for (int64_t i = 0; i < tiles.count; ++i) {
        next.bring_share();
        const int64_t rows = tiles.height(i);
        run_tile(kernel, rows, panel_width(kernel, w.cols, j), kernel.words(k),
                 packed + i * stride + begin / kernel.depth * rows,
                 packed_w + j * kernel.panel_stride(k, kernel.cols),
                 c.row(tiles.first(i)) + j * kernel.cols, c.stride, begin > 0 ? Write::add : write);
      }
    }
  }
}

// From dy of the task's tokens: gradients before and after the SwiGLU, and dx of each slot.
// d_gate, d_up, h (times the combine weight): [rows, ffn]; dx: [rows, hidden]; d_weight: [rows].
template <class T>
void expert_rows_backward(const GemmKernel& kernel, Sizes s, ConstMatrix dy,
                          const ExpertMatrices<T>& all, const Assignment& a, const RowTask& task,
                          ConstMatrix gate, ConstMatrix up, Matrix d_gate, Matrix d_up, Matrix h,
                          Matrix dx, std::span<float> d_weight) {
  const RowBlocks tiles(task.rows, kernel.max_rows);
  float* packed = take_tiles(kernel, s, tiles);
  const ExpertMatrices<T> w = matrices_of(all, s, task.expert);

  Matrix dh = h;  // until the SwiGLU has used it
  pack_all(kernel, tiles, dy, &a.token[task.slot], packed);
  product_with(kernel, tiles, packed, w.down, w.gate, dh, Write::set);
  for (int64_t r = 0; r < task.rows; ++r) {
    d_weight[r] =
        swiglu_kernel().backward(s.ffn, gate.row(r), up.row(r), dh.row(r), a.gate[task.slot + r],
                                 d_gate.row(r), d_up.row(r), h.row(r));
  }
  pack_all(kernel, tiles, d_gate, nullptr, packed);
  product_with(kernel, tiles, packed, w.gate, w.up, dx, Write::set);
  pack_all(kernel, tiles, d_up, nullptr, packed);
  product_with(kernel, tiles, packed, w.up, View<const T>(), dx, Write::add);
}

// dw = or += Aᵀ·B over the tokens of one expert, where column i of A is row i of dw. Several A with
// one B share its packing.
struct WeightGradient {
  Operand a;
  Matrix dw;
};

// Part `part` of `parts` of the rows of each dw.
void weight_gradients(const GemmKernel& kernel, std::span<const WeightGradient> products,
                      const Operand& b, int64_t tokens, bool add, int64_t part, int64_t parts) {
  Arena& scratch = thread_scratch();
  const int64_t cols = products.front().dw.cols, rows_at_once = kTilesAtOnce * kernel.max_rows;
  const int64_t panels = panel_count(kernel, cols);
  const int64_t block = std::min(kWordsPerBlock * kernel.depth, std::max<int64_t>(tokens, 1));
  float* packed_a = scratch.take<float>(kTilesAtOnce * tile_stride(kernel, block));
  float* packed_b = scratch.take<float>(panels * kernel.panel_stride(block, kernel.cols));
  for (int64_t begin = 0; begin < tokens || begin == 0; begin += block) {
    const int64_t k = std::min(block, tokens - begin);
    const Write write = add || begin > 0 ? Write::add : Write::stream;
    b.pack_panels(kernel, 0, cols, begin, k, packed_b);
    for (const WeightGradient& product : products) {
      const int64_t last = (part + 1) * product.dw.rows / parts;
      for (int64_t first = part * product.dw.rows / parts; first < last; first += rows_at_once) {
        const RowBlocks tiles(std::min(rows_at_once, last - first), kernel.max_rows);
        pack_tiles(kernel, product.a, first, tiles, begin, k, packed_a);
        for (int64_t i = 0; i < tiles.count; ++i) {
          for (int64_t j = 0; j < panels; ++j) {
            run_tile(kernel, tiles.height(i), panel_width(kernel, cols, j), kernel.words(k),
                     packed_a + i * tile_stride(kernel, k),
                     packed_b + j * kernel.panel_stride(k, kernel.cols),
                     product.dw.row(first + tiles.first(i)) + j * kernel.cols, product.dw.stride,
                     write);
          }
        }
      }
    }
  }
  _mm_sfence();  // what went past the caches is there before another thread asks for it
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
      with_matrices(weights, precision, [&](const auto& all) {
        expert_rows_forward(kernel, s, x, all, a, task, gate, up,
                            slots.row_range(task.slot - slot_begin, task.rows));
      });
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
      with_matrices(weights, precision, [&](const auto& all) {
        expert_rows_backward(
            kernel, s, dy, all, a, task, saved.gate.row_range(task.slot, task.rows),
            saved.up.row_range(task.slot, task.rows), rows_of(d_gate_slots), rows_of(d_up_slots),
            rows_of(h_slots), rows_of(dx_slots), d_gate.subspan(task.slot, task.rows));
      });
    });

    // Two products for each expert, cut further when the wave has few experts.
    const int64_t experts = last - first;
    const int64_t parts = std::max<int64_t>(1, 2 * thread_count() / experts);
    parallel_for(experts * parts * 2, [&](int64_t i) {
      const int32_t e = first + static_cast<int32_t>(i / (2 * parts));
      const int64_t part = i / 2 % parts, row = a.expert_begin[e] - slot_begin;
      const int64_t tokens = a.load(e);
      if (tokens == 0 && gradients.add) return;
      ArenaScope task_scope(thread_scratch());
      const auto of_slots = [&](Matrix m) {
        return Operand{.data = m.row(row), .stride = m.stride, .k_contiguous = false};
      };
      const auto of_tokens = [&](ConstMatrix m) {
        return Operand{.data = m.data,
                       .stride = m.stride,
                       .index = a.token.data() + a.expert_begin[e],
                       .k_contiguous = false};
      };
      if (i % 2 == 0) {
        const WeightGradient products[] = {
            {of_slots(d_gate_slots), gradients.gate.row_range(e * s.ffn, s.ffn)},
            {of_slots(d_up_slots), gradients.up.row_range(e * s.ffn, s.ffn)}};
        weight_gradients(kernel, products, of_tokens(x), tokens, gradients.add, part, parts);
      } else {
        const WeightGradient product[] = {
            {of_tokens(dy), gradients.down.row_range(e * s.hidden, s.hidden)}};
        weight_gradients(kernel, product, of_slots(h_slots), tokens, gradients.add, part, parts);
      }
    });
    combine(a, dx_slots, slot_begin, cursor, dx);
  });
}

}  // namespace unmask
