#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <span>

#include "unmask/base/arena.h"
#include "unmask/base/parallel.h"
#include "unmask/kernels/attention_mask.h"
#include "unmask/kernels/attention_passes.h"
#include "unmask/kernels/attention_runs.h"
#include "unmask/kernels/isa/softmax_kernel.h"

// Dao et al., "FlashAttention" (2022), with keys along the rows of every score tile: maxima and
// sums of the softmax then run down the columns without any reduction across lanes, and the tile
// of weights is, as it stands, the panel that multiplies the values.
namespace unmask {
namespace {

// Packing keys and values again for every so many queries costs 3 % of the products.
constexpr int64_t kQueriesPerTask = 512;
// The keys and values of a run, their scores, and what the panels keep that meet them, stay in the
// inner caches.
constexpr int64_t kPanelsPerSweep = 8;
// What a panel does with the scores of a run, between both products.
constexpr int64_t kSoftmaxPasses = 3;

// Queries [begin, end) of one head, at most as many as a panel has columns, and what they have got
// from the keys so far.
struct QueryPanel {
  int64_t head, begin, end;
  bool met_none = true;
  float* q;            // [words of d][cols]
  float* accumulator;  // [d][cols]
  float* offset;       // [cols], as is the next: the running softmax (softmax_kernel.h)
  float* sum;

  QueryPanel(const GemmKernel& kernel, int64_t head, int64_t begin, int64_t end, int64_t d,
             Arena& arena)
      : head(head),
        begin(begin),
        end(end),
        q(arena.take<float>(kernel.words(d) * kernel.cols + kPackSlack)),
        accumulator(arena.take<float>(d * kernel.cols)),
        offset(arena.take<float>(kernel.cols)),
        sum(arena.take<float>(kernel.cols)) {
    std::fill_n(offset, kernel.cols, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, kernel.cols, 0.0f);
  }
};

struct HeadRange {
  int64_t begin, end;
};

// Some query heads of one kv head of a group.
template <class T>
class ForwardTask {
 public:
  ForwardTask(const AttentionInputs<T>& in, const AttentionPattern::Group& group, HeadRange heads,
              Arena& arena)
      : in_(in),
        group_(group),
        heads_(heads),
        arena_(arena),
        kernel_(gemm_kernel(in.precision)),
        softmax_(softmax_kernel()),
        d_(in.shape.head_dim),
        cols_(kernel_.cols),
        scores_(arena.take<float>(kKeysPerRun * cols_)),
        rounded_(arena.take<float>(kKeysPerRun * cols_ + kPackSlack)),
        transposed_(take_transposed(kernel_, d_, arena)),
        shrink_(arena.take<float>(cols_)) {}

  // Queries [begin, end): panel after panel, the heads of the same queries together.
  void attend(int64_t begin, int64_t end, Matrix out, Matrix log_sum_exp) {
    const int64_t heads = heads_.end - heads_.begin;
    const int64_t panels = (end - begin + cols_ - 1) / cols_ * heads;
    const KeyRun* const packed = panels > kPanelsPerSweep ? packed_for(begin, end) : nullptr;
    for (int64_t first = 0; first < panels; first += kPanelsPerSweep) {
      const ArenaScope sweep_scope(arena_);
      const int64_t count = std::min(kPanelsPerSweep, panels - first);
      QueryPanel* const sweep = arena_.take<QueryPanel>(count);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t query = begin + (first + i) / heads * cols_;
        begin_panel(sweep + i, heads_.begin + (first + i) % heads, query,
                    std::min(query + cols_, end));
      }
      meet_keys({sweep, static_cast<size_t>(count)}, packed);
      for (int64_t i = 0; i < count; ++i) finish(sweep[i], out, log_sum_exp);
    }
  }

 private:
  int64_t run_count() const {
    return (group_.key_end - group_.key_begin + kKeysPerRun - 1) / kKeysPerRun;
  }
  int64_t run_begin(int64_t i) const {
    return std::min<int64_t>(group_.key_begin + i * kKeysPerRun, group_.key_end);
  }
  bool attend_to_run(int64_t query_begin, int64_t query_end, int64_t i) const {
    return attends(in_.pattern, group_, query_begin, query_end, run_begin(i), run_begin(i + 1));
  }

  View<const T> rows_of_run(const HeadTable<const T>& table, int64_t i) const {
    return in_.head(table, heads_.begin / in_.heads_per_kv_head(), run_begin(i), run_begin(i + 1));
  }
  KeyRun packed_run(int64_t i) {
    const View<const T> keys = rows_of_run(in_.k, i), values = rows_of_run(in_.v, i);
    const int64_t begin = run_begin(i), end = run_begin(i + 1);
    if (end <= in_.k.packed_rows) return {kernel_, begin, d_, keys.data, values.data};
    const KeyRun run(kernel_, begin, end, d_, arena_);
    run.pack(kernel_, keys, values);
    return run;
  }
  // Those runs that queries [begin, end) attend to.
  const KeyRun* packed_for(int64_t begin, int64_t end) {
    KeyRun* const runs = arena_.take<KeyRun>(run_count());
    for (int64_t i = 0; i < run_count(); ++i) {
      if (attend_to_run(begin, end, i)) std::construct_at(runs + i, packed_run(i));
    }
    return runs;
  }

  void begin_panel(QueryPanel* panel, int64_t head, int64_t begin, int64_t end) {
    std::construct_at(panel, kernel_, head, begin, end, d_, arena_);
    const ConstMatrix q = in_.head(in_.q, head, begin, end);
    kernel_.b.rows(q.data, q.stride, nullptr, q.rows, cols_, d_, panel->q);
  }

  // Every run of keys, `packed` or not yet, against all panels.
  void meet_keys(std::span<QueryPanel> sweep, const KeyRun* packed) {
    for (int64_t i = 0; i < run_count(); ++i) {
      if (!attend_to_run(sweep.front().begin, sweep.back().end, i)) continue;
      const ArenaScope scope(arena_);
      const KeyRun run = packed != nullptr ? packed[i] : packed_run(i);
      ComingRun<T> coming;
      if (packed == nullptr && i + 1 < run_count()) {
        coming = {rows_of_run(in_.k, i + 1), rows_of_run(in_.v, i + 1),
                  std::ssize(sweep) * (run.k.tiles.count + run.v.count + kSoftmaxPasses)};
      }
      for (QueryPanel& panel : sweep) {
        for_each_run(
            run.k.tiles.count, run.k.tiles.count,
            [&](int64_t tile) {
              return attends(in_.pattern, group_, panel.begin, panel.end, run.tile_begin(tile),
                             run.tile_begin(tile + 1));
            },
            [&](int64_t first, int64_t last) { meet(panel, run, first, last, coming); });
      }
    }
  }

  float factor() const { return in_.shape.scale * std::numbers::log2e_v<float>; }

  // scores = k·qᵀ over the tiles [first, last) of a run, softmax so far,
  // accumulator += vᵀ·weights.
  void meet(QueryPanel& panel, const KeyRun& run, int64_t first, int64_t last,
            ComingRun<T>& coming) {
    const int64_t first_key = run.tile_begin(first), rows = run.tile_begin(last) - first_key;
    for (int64_t tile = first; tile < last; ++tile) {
      coming.bring_share();
      kernel_.tile(run.k.tiles.height_of(tile), run.k.words, run.k.tile(tile), panel.q,
                   scores_ + (run.tile_begin(tile) - first_key) * cols_, cols_, Write::set);
    }
    for_each_hole(in_.pattern, group_, panel.begin, panel.end, first_key, first_key + rows,
                  [&](int64_t query, int64_t query_end, int64_t key, int64_t key_end) {
                    for (; key < key_end; ++key) {
                      std::fill_n(scores_ + (key - first_key) * cols_ + (query - panel.begin),
                                  query_end - query, kMasked);
                    }
                  });
    coming.bring_share();
    softmax_.raise_offset(scores_, rows, cols_, factor(), panel.offset, panel.sum, shrink_);
    if (!panel.met_none) softmax_.scale_columns(panel.accumulator, d_, cols_, shrink_);
    coming.bring_share();
    softmax_.exponentiate(scores_, rows, cols_, factor(), panel.offset, panel.sum);
    coming.bring_share();
    const float* weights = as_panel(kernel_, in_.precision, scores_, rows, rounded_);
    for (int64_t tile = 0; tile < run.v.count; ++tile) {
      coming.bring_share();
      run.v.multiply_tile(kernel_, tile, first_key - run.begin, rows, weights, panel.accumulator,
                          panel.met_none ? Write::set : Write::add);
    }
    panel.met_none = false;
  }

  // out = accumulatorᵀ / sum; log_sum_exp is -infinity for a query without keys.
  void finish(const QueryPanel& panel, Matrix out, Matrix log_sum_exp) {
    if (panel.met_none) std::fill_n(panel.accumulator, d_ * cols_, 0.0f);
    const int64_t count = panel.end - panel.begin;
    const ConstMatrix rows = transpose_panel(kernel_, panel.accumulator, count, d_, transposed_);
    const Matrix to = in_.head(out, panel.head, panel.begin, panel.end);
    for (int64_t i = 0; i < count; ++i) {
      const float inverse = panel.sum[i] == 0 ? 0.0f : 1.0f / panel.sum[i];
      for (int64_t j = 0; j < d_; ++j) to(i, j) = rows(i, j) * inverse;
      if (!log_sum_exp.empty()) {
        log_sum_exp(panel.begin + i, panel.head) =
            std::numbers::ln2_v<float> * panel.offset[i] + std::log(panel.sum[i]);
      }
    }
  }

  const AttentionInputs<T>& in_;
  const AttentionPattern::Group& group_;
  HeadRange heads_;
  Arena& arena_;
  const GemmKernel& kernel_;
  const SoftmaxKernel& softmax_;
  int64_t d_, cols_;
  float* scores_;      // [keys of a run][cols]
  float* rounded_;     // the same as words
  float* transposed_;  // [cols][d]
  float* shrink_;      // [cols]
};

}  // namespace

template <class T>
void tiled_attention_forward(const AttentionInputs<T>& in, Matrix out, Matrix log_sum_exp) {
  int64_t longest = 0;
  for (const auto& group : in.pattern.groups) {
    longest = std::max(longest, in.query_end(group) - in.query_begin(group));
  }
  const int64_t stretches = (longest + kQueriesPerTask - 1) / kQueriesPerTask;
  // The query heads of a kv head together, unless threads would be left without work.
  const int64_t heads = in.heads_per_kv_head();
  const int64_t whole = std::ssize(in.pattern.groups) * stretches * in.shape.kv_heads;
  const int64_t parts = std::clamp<int64_t>(thread_count() / std::max<int64_t>(whole, 1), 1, heads);
  parallel_for(whole * parts, [&](int64_t task) {
    const int64_t part = task % parts, kv_head = task / parts % in.shape.kv_heads;
    const int64_t stretch = task / parts / in.shape.kv_heads % stretches;
    const auto& group = in.pattern.groups[task / parts / in.shape.kv_heads / stretches];
    const int64_t begin = in.query_begin(group) + stretch * kQueriesPerTask;
    const int64_t end = std::min(begin + kQueriesPerTask, in.query_end(group));
    if (begin >= end) return;
    const HeadRange of_task = {kv_head * heads + part * heads / parts,
                               kv_head * heads + (part + 1) * heads / parts};
    ArenaScope scope(thread_scratch());
    ForwardTask(in, group, of_task, thread_scratch()).attend(begin, end, out, log_sum_exp);
  });
}

template void tiled_attention_forward(const AttentionInputs<float>&, Matrix, Matrix);
template void tiled_attention_forward(const AttentionInputs<bf16>&, Matrix, Matrix);

}  // namespace unmask
