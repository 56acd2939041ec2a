#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "unmask/base/arena.h"
#include "unmask/base/parallel.h"
#include "unmask/kernels/attention_mask.h"
#include "unmask/kernels/attention_passes.h"
#include "unmask/kernels/attention_tiles.h"
#include "unmask/kernels/isa/softmax_kernel.h"

// With p = softmax(scale q·kᵀ) made again from log_sum_exp (Dao et al. 2022, algorithm 4):
//
//   dv = pᵀ·dout    ds = scale p (dout·vᵀ - rowsum(dout out))    dk = dsᵀ·q    dq = ds·k
//
// Queries run along the rows of every tile here: p and ds are then, as they stand, the panels of
// the products that sum over queries; only dq needs ds packed anew.
namespace unmask {
namespace {

// Queries whose packed rows are used against all keys before the next ones: they fill the
// second-level cache.
constexpr int64_t kQueriesPerPass = 256;
// Scores and their gradients of one run stay in the first-level cache.
constexpr int64_t kQueriesPerRun = 84;
// With few groups and heads, the keys are cut so that there is work for this many threads; dq is
// then a sum of parts.
constexpr int64_t kEnoughTasks = 8;
constexpr int64_t kLeastKeysPerPart = 512;
constexpr int64_t kMostParts = 4;

float dot(const float* a, const float* b, int64_t n) {
  float lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t j = 0; j < 8; ++j) lanes[j] += a[i + j] * b[i + j];
  }
  for (; i < n; ++i) lanes[0] += a[i] * b[i];
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

struct Outputs {
  ConstMatrix out, log_sum_exp, d_out;
};

// A stretch of the keys of a group, of one kv head, against all queries of the group.
class BackwardTask {
 public:
  BackwardTask(const AttentionInputs& in, const Outputs& outputs,
               const AttentionPattern::Group& group, int64_t kv_head, int64_t key_begin,
               int64_t key_end, Arena& arena)
      : in_(in),
        outputs_(outputs),
        group_(group),
        kernel_(gemm_kernel(in.precision)),
        softmax_(softmax_kernel()),
        arena_(arena),
        d_(in.shape.head_dim),
        cols_(kernel_.cols),
        d_panels_(panel_count(kernel_, d_)),
        key_begin_(key_begin),
        keys_(key_end - key_begin),
        key_panels_(panel_count(kernel_, keys_)),
        k_rows_(arena.take<float>(key_panels_ * row_panel_size() + kPackSlack)),
        v_rows_(arena.take<float>(key_panels_ * row_panel_size() + kPackSlack)),
        k_columns_(arena.take<float>(key_panels_ * column_panel_size() + kPackSlack)),
        dk_(arena.take<float>(key_panels_ * d_ * cols_)),
        dv_(arena.take<float>(key_panels_ * d_ * cols_)) {
    std::fill_n(dk_, key_panels_ * d_ * cols_, 0.0f);
    std::fill_n(dv_, key_panels_ * d_ * cols_, 0.0f);
    const ConstMatrix k = in.head(in.k, kv_head, key_begin, key_end);
    const ConstMatrix v = in.head(in.v, kv_head, key_begin, key_end);
    for (int64_t i = 0; i < key_panels_; ++i) {
      const int64_t width = panel_width(kernel_, keys_, i);
      kernel_.pack_rows(k.row(i * cols_), k.stride, nullptr, width, cols_, d_,
                        k_rows_ + i * row_panel_size());
      kernel_.pack_rows(v.row(i * cols_), v.stride, nullptr, width, cols_, d_,
                        v_rows_ + i * row_panel_size());
      for (int64_t j = 0; j < d_panels_; ++j) {
        kernel_.pack_columns(k.row(i * cols_) + j * cols_, k.stride, nullptr, nullptr,
                             panel_width(kernel_, d_, j), cols_, width, k_column_panel(i, j));
      }
    }
  }

  // dq =, dk +=, dv += what queries [begin, end) of one head give.
  void propagate(int64_t head, int64_t begin, int64_t end, Matrix dq) {
    ArenaScope scope(arena_);
    const SequenceTiles tiles(kernel_, end - begin);
    Pass pass(kernel_, tiles, d_, d_panels_, arena_);
    const ConstMatrix q = in_.head(in_.q, head, begin, end);
    const ConstMatrix d_out = in_.head(outputs_.d_out, head, begin, end);
    const ConstMatrix out = in_.head(outputs_.out, head, begin, end);
    pass.q_rows.pack(kernel_, q);
    pass.q_columns.pack(kernel_, q);
    pass.d_out_rows.pack(kernel_, d_out);
    pass.d_out_columns.pack(kernel_, d_out);
    for (int64_t i = 0; i < tiles.rows; ++i) {
      const float log_sum_exp = outputs_.log_sum_exp(begin + i, head);
      // A query without keys: its scores are all masked and weigh 0 against any finite offset.
      pass.offset[i] = std::isinf(log_sum_exp) ? 0.0f : log_sum_exp * std::numbers::log2e_v<float>;
      pass.centre[i] = in_.shape.scale * dot(d_out.row(i), out.row(i), d_);
    }
    std::fill_n(pass.dq, tiles.rows * pass.dq_stride, 0.0f);
    for (int64_t panel = 0; panel < key_panels_; ++panel) {
      const int64_t first_key = key_begin_ + panel * cols_;
      const int64_t last_key = first_key + panel_width(kernel_, keys_, panel);
      for_each_run(
          tiles.count, std::max<int64_t>(1, kQueriesPerRun / tiles.height),
          [&](int64_t tile) {
            return attends(in_.pattern, group_, begin + tiles.first(tile),
                           begin + tiles.first(tile + 1), first_key, last_key);
          },
          [&](int64_t first, int64_t last) { add_run(pass, begin, first, last, panel); });
    }
    for (int64_t i = 0; i < tiles.rows; ++i) {
      std::memcpy(in_.head(dq, head, begin + i, begin + i + 1).data, pass.dq + i * pass.dq_stride,
                  d_ * sizeof(float));
    }
  }

  // dk, dv of the keys that this group attends to.
  void finish(int64_t kv_head, std::span<const int32_t> owner, int32_t group, Matrix dk,
              Matrix dv) {
    ArenaScope scope(arena_);
    float* buffer = take_transposed(kernel_, d_, arena_);
    const auto write = [&](const float* source, Matrix target) {
      for (int64_t panel = 0; panel < key_panels_; ++panel) {
        const int64_t first_key = key_begin_ + panel * cols_;
        const ConstMatrix rows =
            transpose_panel(gemm_kernel(Precision::f32), source + panel * d_ * cols_,
                            panel_width(kernel_, keys_, panel), d_, buffer);
        for (int64_t i = 0; i < rows.rows; ++i) {
          if (owner[first_key + i] != group) continue;
          std::memcpy(target.row(first_key + i) + kv_head * d_, rows.row(i), d_ * sizeof(float));
        }
      }
    };
    write(dk_, dk);
    write(dv_, dv);
  }

 private:
  // What one stretch of queries of one head needs.
  struct Pass {
    RowFactor q_rows, d_out_rows;           // [queries, d]
    ColumnFactor q_columns, d_out_columns;  // [d, queries]
    float *offset, *centre;                 // [queries] (softmax_kernel.h)
    int64_t dq_stride;
    float* dq;                   // [queries][panels of d]
    float *scores, *d_scores;    // [queries of a run][cols]
    float *weights, *d_weights;  // the same as words
    float* d_score_tile;         // [words of a key panel][rows of a tile]

    Pass(const GemmKernel& kernel, const SequenceTiles& tiles, int64_t d, int64_t d_panels,
         Arena& arena)
        : q_rows(kernel, tiles, d, arena),
          d_out_rows(kernel, tiles, d, arena),
          q_columns(kernel, tiles.rows, d, arena),
          d_out_columns(kernel, tiles.rows, d, arena),
          offset(arena.take<float>(tiles.rows)),
          centre(arena.take<float>(tiles.rows)),
          dq_stride(d_panels * kernel.cols),
          dq(arena.take<float>(tiles.rows * dq_stride)) {
      const int64_t run = std::max(kQueriesPerRun, tiles.height) * kernel.cols;
      scores = arena.take<float>(run);
      d_scores = arena.take<float>(run);
      weights = arena.take<float>(run + kPackSlack);
      d_weights = arena.take<float>(run + kPackSlack);
      d_score_tile = arena.take<float>(tiles.height * kernel.cols + kPackSlack);
    }
  };

  int64_t row_panel_size() const { return kernel_.words(d_) * cols_; }
  int64_t column_panel_size() const { return d_panels_ * kernel_.words(cols_) * cols_; }
  float* k_column_panel(int64_t panel, int64_t j) const {
    return k_columns_ + panel * column_panel_size() + j * kernel_.words(cols_) * cols_;
  }

  // Query tiles [first, last) against one panel of keys.
  void add_run(Pass& pass, int64_t begin, int64_t first, int64_t last, int64_t panel) {
    const SequenceTiles& tiles = *pass.q_rows.tiles;
    const int64_t first_row = tiles.first(first), rows = tiles.first(last) - first_row;
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t at = (tiles.first(tile) - first_row) * cols_;
      kernel_.tile(tiles.height_of(tile), pass.q_rows.words, pass.q_rows.tile(tile),
                   k_rows_ + panel * row_panel_size(), pass.scores + at, cols_, false);
      kernel_.tile(tiles.height_of(tile), pass.q_rows.words, pass.d_out_rows.tile(tile),
                   v_rows_ + panel * row_panel_size(), pass.d_scores + at, cols_, false);
    }
    const int64_t first_query = begin + first_row, first_key = key_begin_ + panel * cols_;
    for_each_hole(in_.pattern, group_, first_query, first_query + rows, first_key,
                  first_key + cols_,
                  [&](int64_t query, int64_t query_end, int64_t key, int64_t key_end) {
                    for (; query < query_end; ++query) {
                      std::fill_n(pass.scores + (query - first_query) * cols_ + (key - first_key),
                                  key_end - key, kMasked);
                    }
                  });
    softmax_.differentiate(pass.scores, pass.d_scores, rows, cols_,
                           in_.shape.scale * std::numbers::log2e_v<float>, in_.shape.scale,
                           pass.offset + first_row, pass.centre + first_row);

    const float* p = as_panel(kernel_, in_.precision, pass.scores, rows, pass.weights);
    const float* ds = as_panel(kernel_, in_.precision, pass.d_scores, rows, pass.d_weights);
    pass.d_out_columns.multiply(kernel_, first_row, rows, p, dv_ + panel * d_ * cols_, true);
    pass.q_columns.multiply(kernel_, first_row, rows, ds, dk_ + panel * d_ * cols_, true);

    const int64_t keys = panel_width(kernel_, keys_, panel);
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t height = tiles.height_of(tile);
      kernel_.pack_rows(pass.d_scores + (tiles.first(tile) - first_row) * cols_, cols_, nullptr,
                        height, height, keys, pass.d_score_tile);
      for (int64_t j = 0; j < d_panels_; ++j) {
        kernel_.tile(height, kernel_.words(keys), pass.d_score_tile, k_column_panel(panel, j),
                     pass.dq + tiles.first(tile) * pass.dq_stride + j * cols_, pass.dq_stride,
                     true);
      }
    }
  }

  const AttentionInputs& in_;
  const Outputs& outputs_;
  const AttentionPattern::Group& group_;
  const GemmKernel& kernel_;
  const SoftmaxKernel& softmax_;
  Arena& arena_;
  int64_t d_, cols_, d_panels_;
  int64_t key_begin_, keys_, key_panels_;
  float *k_rows_, *v_rows_;  // panels [words of d][cols]
  float* k_columns_;         // panels [words of a panel's keys][cols of d]
  float *dk_, *dv_;          // [key panels][d][cols]
};

// Which group attends to each key, -1 for none.
std::span<int32_t> owners(const AttentionPattern& pattern, int64_t keys, Arena& arena) {
  int32_t* owner = arena.take<int32_t>(keys);
  std::fill_n(owner, keys, -1);
  for (size_t g = 0; g < pattern.groups.size(); ++g) {
    const auto& group = pattern.groups[g];
    for (int32_t s = group.first_span; s < group.last_span; ++s) {
      for (const auto& range : ranges_of(pattern, pattern.spans[s])) {
        std::fill(owner + range.begin, owner + range.end, static_cast<int32_t>(g));
      }
    }
  }
  return {owner, owner + keys};
}

// Depends on the shape alone, not on threads: it decides in which order dq is summed.
int64_t parts_of_keys(const AttentionInputs& in) {
  int64_t longest = 0;
  for (const auto& group : in.pattern.groups) {
    longest = std::max<int64_t>(longest, group.key_end - group.key_begin);
  }
  if (std::ssize(in.pattern.groups) * in.shape.kv_heads >= kEnoughTasks) return 1;
  return std::clamp<int64_t>(longest / kLeastKeysPerPart, 1, kMostParts);
}

}  // namespace

void tiled_attention_backward(const AttentionInputs& in, ConstMatrix out, ConstMatrix log_sum_exp,
                              ConstMatrix d_out, Matrix dq, Matrix dk, Matrix dv) {
  const Outputs outputs{out, log_sum_exp, d_out};
  Arena& arena = thread_scratch();
  ArenaScope scope(arena);
  const std::span<const int32_t> owner = owners(in.pattern, in.k.rows, arena);
  for (int64_t key = 0; key < in.k.rows; ++key) {
    if (owner[key] >= 0) continue;
    std::fill_n(dk.row(key), dk.cols, 0.0f);
    std::fill_n(dv.row(key), dv.cols, 0.0f);
  }

  const int64_t parts = parts_of_keys(in);
  Matrix part_of_dq[kMostParts] = {dq};
  for (int64_t part = 1; part < parts; ++part) part_of_dq[part] = arena.matrix(dq.rows, dq.cols);

  const int64_t tasks_per_group = parts * in.shape.kv_heads;
  parallel_for(std::ssize(in.pattern.groups) * tasks_per_group, [&](int64_t task) {
    const int64_t g = task / tasks_per_group;
    const auto& group = in.pattern.groups[g];
    const int64_t kv_head = task % tasks_per_group / parts, part = task % parts;
    const int64_t keys = group.key_end - group.key_begin;
    const int64_t key_begin = group.key_begin + keys * part / parts;
    const int64_t key_end = group.key_begin + keys * (part + 1) / parts;
    ArenaScope task_scope(thread_scratch());
    BackwardTask attention(in, outputs, group, kv_head, key_begin, key_end, thread_scratch());
    const int64_t heads = in.heads_per_kv_head();
    for (int64_t head = kv_head * heads; head < (kv_head + 1) * heads; ++head) {
      const int64_t end = in.query_end(group);
      for (int64_t i = in.query_begin(group); i < end; i += kQueriesPerPass) {
        attention.propagate(head, i, std::min(i + kQueriesPerPass, end), part_of_dq[part]);
      }
    }
    attention.finish(kv_head, owner, static_cast<int32_t>(g), dk, dv);
  });

  if (parts == 1) return;
  parallel_for(std::ssize(in.pattern.groups), [&](int64_t g) {
    const auto& group = in.pattern.groups[g];
    for (int64_t i = in.query_begin(group); i < in.query_end(group); ++i) {
      for (int64_t part = 1; part < parts; ++part) {
        const float* from = part_of_dq[part].row(i);
        for (int64_t j = 0; j < dq.cols; ++j) dq(i, j) += from[j];
      }
    }
  });
}

}  // namespace unmask
