#include "unmask/kernels/quantized_experts.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>

#include "unmask/base/parallel.h"
#include "unmask/kernels/activation_rows.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/swiglu_kernel.h"
#include "unmask/kernels/reference/quantized.h"

namespace unmask {
namespace {

constexpr int64_t kTile = QuantizedShape::kTile;

// An expert that has rows: slots [slot, slot + rows).
struct Active {
  int32_t expert;
  int64_t slot;
  int64_t rows;
};

// Rows that are interleaved together, of one expert.
struct Block {
  int64_t slot;
  int64_t rows;
};

// What the layer needs of an Assignment.
struct Slots {
  std::span<const int32_t> expert_begin;  // [experts + 1]
  std::span<const int32_t> token;         // [slots]
  std::span<const float> gate;            // [slots]

  int64_t count() const { return std::ssize(token); }
};

std::span<const Active> active_experts(const Slots& slots) {
  const int64_t experts = std::ssize(slots.expert_begin) - 1;
  Active* const active = thread_scratch().take<Active>(experts);
  int64_t count = 0;
  for (int32_t e = 0; e < experts; ++e) {
    const int64_t begin = slots.expert_begin[e], rows = slots.expert_begin[e + 1] - begin;
    if (rows > 0) active[count++] = {e, begin, rows};
  }
  return {active, static_cast<size_t>(count)};
}

std::span<const Block> row_blocks(std::span<const Active> active, int64_t slots,
                                  const QuantizedKernel& kernel) {
  Block* const all = thread_scratch().take<Block>(slots);
  size_t count = 0;
  for (const Active& a : active) {
    const RowBlocks blocks(a.rows, kernel.max_rows);
    for (int64_t b = 0; b < blocks.count; ++b) {
      all[count++] = {a.slot + blocks.first(b), blocks.height(b)};
    }
  }
  return {all, count};
}

// The rows of x: by all threads, and where one of them asks for its own, by that one.
ActivationRows converted(ConstMatrix x, const QuantizedShape& shape) {
  const ActivationRows rows(thread_scratch(), shape, x.rows);
  parallel_for(x.rows, [&](int64_t t) { convert_row(shape, x.row(t), rows[t]); });
  return rows;
}

// The rows of one expert's tokens at a time, interleaved by the thread that multiplies them.
class TokenRows {
 public:
  TokenRows(const ActivationRows& tokens, int64_t most_rows)
      : tokens_(tokens),
        rows_(thread_scratch(), quantized_kernel(tokens.shape()), tokens.shape(), most_rows) {}

  const InterleavedBlocks& of(const Active& a, const Slots& slots) {
    if (a.expert == expert_) return rows_;
    expert_ = a.expert;
    const RowBlocks blocks(a.rows, rows_.kernel().max_rows);
    for (int64_t b = 0; b < blocks.count; ++b) {
      const int64_t first = blocks.first(b);
      rows_.fill(first, blocks.height(b),
                 [&](int64_t i) { return tokens_[slots.token[a.slot + first + i]]; });
    }
    return rows_;
  }

 private:
  ActivationRows tokens_;
  InterleavedBlocks rows_;
  int32_t expert_ = -1;
};

int64_t most_rows(std::span<const Active> active) {
  int64_t most = 0;
  for (const Active& a : active) most = std::max(most, a.rows);
  return most;
}

// h [slots, ffn] = gate[s] * silu(gate_e · x) * (up_e · x). Tasks are tiles of one expert.
void gate_and_up(ConstMatrix x, const QuantizedExperts& weights, std::span<const Active> active,
                 const Slots& slots, Matrix h) {
  const QuantizedShape& shape = weights.form.up;
  const int64_t tiles = shape.tiles(), most = most_rows(active);
  const ArenaScope whole(thread_scratch());
  std::optional<ActivationRows> together;
  if (x.rows > kRowsOfThread) together.emplace(converted(x, shape));
  parallel_tasks(std::ssize(active) * tiles, [&](ThreadTasks& tasks) {
    auto taken = tasks.take();
    if (taken.task < 0) return;
    ArenaScope scope(thread_scratch());
    TokenRows tokens(together ? *together : converted(x, shape), most);
    float* const gate_out = thread_scratch().take<float>(most * kTile);
    float* const up_out = thread_scratch().take<float>(most * kTile);
    for (; taken.task >= 0; taken = tasks.take()) {
      const Active& a = active[taken.task / tiles];
      const int64_t i = taken.task % tiles, after = taken.next < 0 ? taken.task : taken.next;
      const QuantizedMatrix gate = weights.gate(a.expert), up = weights.up(a.expert);
      const QuantizedMatrix next = weights.gate(active[after / tiles].expert);
      const InterleavedBlocks& rows = tokens.of(a, slots);
      multiply_tile({gate, i}, rows, 0, a.rows, {up, i}, gate_out);
      multiply_tile({up, i}, rows, 0, a.rows, {next, after % tiles}, up_out);
      const int64_t column = i * kTile, width = std::min(kTile, shape.rows - column);
      for (int64_t r = 0; r < a.rows; ++r) {
        swiglu_kernel().forward(width, gate_out + r * kTile, up_out + r * kTile,
                                slots.gate[a.slot + r], h.row(a.slot + r) + column);
      }
    }
  });
}

// y[t] += down_e · h of t's slots. A task owns some columns of y and goes through the experts in
// ascending order: a sum in fixed order without another buffer, and the same bytes for every task.
void down_and_combine(const InterleavedBlocks& h, const QuantizedExperts& weights,
                      std::span<const Active> active, const Slots& slots, Matrix y) {
  constexpr int64_t kMostTiles = 4, kTasksPerThread = 4;
  const int64_t most = most_rows(active);
  const QuantizedShape& shape = weights.form.down;
  // Neighbours, but none so many that a thread is left without work.
  const int64_t tiles_of_task =
      std::clamp<int64_t>(shape.tiles() / (kTasksPerThread * thread_count()), 1, kMostTiles);
  const int64_t tasks = (shape.tiles() + tiles_of_task - 1) / tiles_of_task;
  parallel_for_ahead(tasks, [&](int64_t task, int64_t following) {
    ArenaScope scope(thread_scratch());
    float* const out = thread_scratch().take<float>(most * kTile);
    const int64_t begin = task * tiles_of_task;
    const int64_t end = std::min(begin + tiles_of_task, shape.tiles());
    const int64_t after = (following < 0 ? task : following) * tiles_of_task;
    for (size_t n = 0; n < active.size(); ++n) {
      const Active& a = active[n];
      const bool last = n + 1 == active.size();
      const QuantizedMatrix w = weights.down(a.expert);
      const QuantizedMatrix next = weights.down(active[last ? 0 : n + 1].expert);
      for (int64_t i = begin; i < end; ++i) {
        const TileOf next_tile =
            i + 1 < end ? TileOf{w, i + 1} : TileOf{next, last ? after : begin};
        multiply_tile({w, i}, h, a.slot, a.rows, next_tile, out);
        const int64_t column = i * kTile, width = std::min(kTile, shape.rows - column);
        for (int64_t r = 0; r < a.rows; ++r) {
          float* const sum = y.row(slots.token[a.slot + r]) + column;
          for (int64_t c = 0; c < width; ++c) sum[c] += out[r * kTile + c];
        }
      }
    }
  });
}

void forward(ConstMatrix x, const QuantizedExperts& weights, const Slots& slots, Matrix y) {
  ArenaScope scope(thread_scratch());
  const std::span<const Active> active = active_experts(slots);
  if (active.empty()) return;
  const QuantizedShape& in = weights.form.up;
  const QuantizedShape& out = weights.form.down;

  const Matrix h = thread_scratch().matrix(slots.count(), in.rows);
  gate_and_up(x, weights, active, slots, h);

  const QuantizedKernel& kernel = quantized_kernel(out);
  const auto blocks = row_blocks(active, slots.count(), kernel);
  const InterleavedBlocks hidden(thread_scratch(), kernel, out, slots.count());
  parallel_for(std::ssize(blocks),
               [&](int64_t b) { convert_block(h, blocks[b].slot, blocks[b].rows, hidden); });
  down_and_combine(hidden, weights, active, slots, y);
}

void check_shapes(ConstMatrix x, const ExpertForm& form, Matrix y) {
  UNMASK_CHECK(form.up.cols == x.cols && form.down.cols == form.up.rows);
  UNMASK_CHECK(form.down.rows == y.cols && y.rows == x.rows);
}

}  // namespace

void experts_forward(ConstMatrix x, const QuantizedExperts& weights, const Assignment& a,
                     Matrix y) {
  check_shapes(x, weights.form, y);
  UNMASK_CHECK(x.rows == a.tokens && std::ssize(weights.records) == a.experts);
  if (use_reference_kernels()) return reference::experts_forward(x, weights, a, y);
  forward(x, weights, {a.expert_begin, a.token, a.gate}, y);
}

void feed_forward_forward(ConstMatrix x, const QuantizedFeedForward& weights, Matrix y) {
  check_shapes(x, weights.form, y);
  if (use_reference_kernels()) return reference::feed_forward_forward(x, weights, y);
  ArenaScope scope(thread_scratch());
  const auto tokens = static_cast<size_t>(x.rows);
  int32_t* const token = thread_scratch().take<int32_t>(x.rows);
  float* const gate = thread_scratch().take<float>(x.rows);
  std::iota(token, token + tokens, 0);
  std::fill_n(gate, tokens, 1.0f);
  const int32_t begin[] = {0, static_cast<int32_t>(tokens)};
  forward(x, {weights.form, {&weights.record, 1}}, {begin, {token, tokens}, {gate, tokens}}, y);
}

}  // namespace unmask
