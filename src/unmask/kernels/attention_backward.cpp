#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <span>

#include "unmask/base/arena.h"
#include "unmask/base/parallel.h"
#include "unmask/kernels/attention_gradients.h"
#include "unmask/kernels/attention_mask.h"
#include "unmask/kernels/attention_passes.h"
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
// Scores and their gradients of one run stay in the inner caches.
constexpr int64_t kQueriesPerRun = 128;
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

// One kv head: a stretch of the keys of a group against all its queries. One and not several side
// by side, as in the forward pass: the packed factors of one fill the second-level cache already.
class BackwardTask {
 public:
  BackwardTask(const AttentionInputs<float>& in, const Outputs& outputs,
               const AttentionPattern::Group& group, int64_t key_begin, int64_t key_end,
               int64_t kv_head, Arena& arena)
      : in_(in),
        outputs_(outputs),
        group_(group),
        kernel_(gemm_kernel(in.precision)),
        softmax_(softmax_kernel()),
        arena_(arena),
        kv_head_(kv_head),
        d_(in.shape.head_dim),
        cols_(kernel_.cols),
        key_begin_(key_begin),
        key_end_(key_end),
        keys_(kernel_, key_end - key_begin, d_, arena) {
    for (int64_t panel = 0; panel < keys_.panels; ++panel) {
      keys_.pack(kernel_, in.head(in.k, kv_head, key_begin, key_end),
                 in.head(in.v, kv_head, key_begin, key_end), panel);
    }
    const int64_t run = std::max<int64_t>(kQueriesPerRun, kernel_.max_rows) * cols_;
    scores_ = arena.take<float>(run);
    d_scores_ = arena.take<float>(run);
    weights_ = arena.take<float>(run + kPackSlack);
    d_weights_ = arena.take<float>(run + kPackSlack);
    d_score_tile_ = arena.take<float>(kernel_.max_rows * cols_ + kPackSlack);
  }

  // dq =, dk +=, dv += what queries [begin, end) of one head give.
  void propagate(int64_t head, int64_t begin, int64_t end, Matrix dq) {
    ArenaScope scope(arena_);
    const SequenceTiles tiles(kernel_, end - begin);
    QueryGradients queries(kernel_, tiles, d_, arena_);
    pack(queries, head, begin, end);
    for (int64_t panel = 0; panel < keys_.panels; ++panel) {
      const int64_t first_key = key_begin_ + panel * cols_;
      for_each_run(
          tiles.count, std::max<int64_t>(1, kQueriesPerRun / tiles.height),
          [&](int64_t tile) {
            return attends(in_.pattern, group_, begin + tiles.first(tile),
                           begin + tiles.first(tile + 1), first_key,
                           std::min(first_key + cols_, key_end_));
          },
          [&](int64_t first, int64_t last) { add_run(queries, begin, first, last, panel); });
    }
    const Matrix target = in_.head(dq, head, begin, end);
    for (int64_t i = 0; i < tiles.rows; ++i) {
      std::memcpy(target.row(i), queries.dq + i * queries.stride, d_ * sizeof(float));
    }
  }

  // dk, dv of the keys that belong to this group; `owner` holds the number of each key's group.
  void finish(std::span<const int32_t> owner, int32_t group, Matrix dk, Matrix dv) {
    ArenaScope scope(arena_);
    float* buffer = take_transposed(kernel_, d_, arena_);
    for (int64_t panel = 0; panel < keys_.panels; ++panel) {
      write_panel(keys_.dk, panel, owner, group, buffer, dk);
      write_panel(keys_.dv, panel, owner, group, buffer, dv);
    }
  }

 private:
  void pack(QueryGradients& queries, int64_t head, int64_t begin, int64_t end) {
    const ConstMatrix out = in_.head(outputs_.out, head, begin, end);
    const ConstMatrix d_out = in_.head(outputs_.d_out, head, begin, end);
    const SequenceTiles& tiles = queries.q_rows.tiles;
    queries.pack(kernel_, in_.head(in_.q, head, begin, end), d_out);
    for (int64_t i = 0; i < tiles.rows; ++i) {
      const float log_sum_exp = outputs_.log_sum_exp(begin + i, head);
      // A query without keys: its scores are all masked and weigh 0 against any finite offset.
      queries.offset[i] =
          std::isinf(log_sum_exp) ? 0.0f : log_sum_exp * std::numbers::log2e_v<float>;
      queries.centre[i] = in_.shape.scale * dot(d_out.row(i), out.row(i), d_);
    }
  }

  // Query tiles [first, last) of a stretch that begins at `begin`, against one panel of keys.
  void add_run(const QueryGradients& queries, int64_t begin, int64_t first, int64_t last,
               int64_t panel) {
    const SequenceTiles& tiles = queries.q_rows.tiles;
    const int64_t first_row = tiles.first(first), rows = tiles.first(last) - first_row;
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t at = (tiles.first(tile) - first_row) * cols_;
      kernel_.tile(tiles.height_of(tile), queries.q_rows.words, queries.q_rows.tile(tile),
                   keys_.k_rows + panel * keys_.row_panel, scores_ + at, cols_, Write::set);
      kernel_.tile(tiles.height_of(tile), queries.q_rows.words, queries.d_out_rows.tile(tile),
                   keys_.v_rows + panel * keys_.row_panel, d_scores_ + at, cols_, Write::set);
    }
    const int64_t first_query = begin + first_row, first_key = key_begin_ + panel * cols_;
    for_each_hole(in_.pattern, group_, first_query, first_query + rows, first_key,
                  first_key + cols_,
                  [&](int64_t query, int64_t query_end, int64_t key, int64_t key_end) {
                    for (; query < query_end; ++query) {
                      std::fill_n(scores_ + (query - first_query) * cols_ + (key - first_key),
                                  key_end - key, kMasked);
                    }
                  });
    softmax_.differentiate(scores_, d_scores_, rows, cols_,
                           in_.shape.scale * std::numbers::log2e_v<float>, in_.shape.scale,
                           queries.offset + first_row, queries.centre + first_row);

    const float* p = as_panel(kernel_, in_.precision, scores_, rows, weights_);
    const float* ds = as_panel(kernel_, in_.precision, d_scores_, rows, d_weights_);
    queries.d_out_columns.multiply(kernel_, first_row, rows, p, keys_.dv + panel * d_ * cols_,
                                   Write::add);
    queries.q_columns.multiply(kernel_, first_row, rows, ds, keys_.dk + panel * d_ * cols_,
                               Write::add);

    const int64_t width = panel_width(kernel_, keys_.keys, panel);
    for (int64_t tile = first; tile < last; ++tile) {
      const int64_t height = tiles.height_of(tile);
      kernel_.a.rows(d_scores_ + (tiles.first(tile) - first_row) * cols_, cols_, nullptr, height,
                     height, width, d_score_tile_);
      for (int64_t j = 0; j < keys_.d_panels; ++j) {
        kernel_.tile(height, kernel_.words(width), d_score_tile_, keys_.column_panel_at(panel, j),
                     queries.dq + tiles.first(tile) * queries.stride + j * cols_, queries.stride,
                     Write::add);
      }
    }
  }

  void write_panel(const float* sums, int64_t panel, std::span<const int32_t> owner, int32_t group,
                   float* buffer, Matrix target) {
    const int64_t first_key = key_begin_ + panel * cols_;
    const ConstMatrix rows = transpose_panel(kernel_, sums + panel * d_ * cols_,
                                             std::min(cols_, key_end_ - first_key), d_, buffer);
    for (int64_t i = 0; i < rows.rows; ++i) {
      if (owner[first_key + i] != group) continue;
      std::memcpy(target.row(first_key + i) + kv_head_ * d_, rows.row(i), d_ * sizeof(float));
    }
  }

  const AttentionInputs<float>& in_;
  const Outputs& outputs_;
  const AttentionPattern::Group& group_;
  const GemmKernel& kernel_;
  const SoftmaxKernel& softmax_;
  Arena& arena_;
  int64_t kv_head_, d_, cols_;
  int64_t key_begin_, key_end_;
  KeyGradients keys_;
  float *scores_, *d_scores_;    // [queries of a run][cols]
  float *weights_, *d_weights_;  // the same as words
  float* d_score_tile_;          // [words of a key panel][rows of a tile]
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
int64_t parts_of_keys(const AttentionInputs<float>& in) {
  int64_t longest = 0;
  for (const auto& group : in.pattern.groups) {
    longest = std::max<int64_t>(longest, group.key_end - group.key_begin);
  }
  if (std::ssize(in.pattern.groups) * in.shape.kv_heads >= kEnoughTasks) return 1;
  return std::clamp<int64_t>(longest / kLeastKeysPerPart, 1, kMostParts);
}

}  // namespace

void tiled_attention_backward(const AttentionInputs<float>& in, ConstMatrix out,
                              ConstMatrix log_sum_exp, ConstMatrix d_out, Matrix dq, Matrix dk,
                              Matrix dv) {
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
    const int64_t g = task / tasks_per_group, part = task % parts;
    const auto& group = in.pattern.groups[g];
    const int64_t kv_head = task % tasks_per_group / parts;
    const int64_t keys = group.key_end - group.key_begin, heads = in.heads_per_kv_head();
    const int64_t begin = in.query_begin(group), end = in.query_end(group);
    ArenaScope task_scope(thread_scratch());
    BackwardTask attention(in, outputs, group, group.key_begin + keys * part / parts,
                           group.key_begin + keys * (part + 1) / parts, kv_head, thread_scratch());
    for (int64_t head = kv_head * heads; head < (kv_head + 1) * heads; ++head) {
      for (int64_t i = begin; i < end; i += kQueriesPerPass) {
        attention.propagate(head, i, std::min(i + kQueriesPerPass, end), part_of_dq[part]);
      }
    }
    attention.finish(owner, static_cast<int32_t>(g), dk, dv);
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
