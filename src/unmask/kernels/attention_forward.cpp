#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "unmask/base/arena.h"
#include "unmask/base/parallel.h"
#include "unmask/kernels/attention_mask.h"
#include "unmask/kernels/attention_passes.h"
#include "unmask/kernels/attention_tiles.h"
#include "unmask/kernels/isa/softmax_kernel.h"

// Dao et al., "FlashAttention" (2022), with keys along the rows of every score tile: maxima and
// sums of the softmax then run down the columns without any reduction across lanes, and the tile
// of weights is, as it stands, the panel that multiplies the values.
namespace unmask {
namespace {

// Packing keys and values again for every so many queries costs 3 % of the products.
constexpr int64_t kQueriesPerTask = 512;
// A run of scores and the tiles that it meets stay in the inner caches.
constexpr int64_t kKeysPerRun = 256;
// Queries of one head before it is the next one's turn.
constexpr int64_t kPanelsPerSweep = 4;

// One kv head of a group against a stretch of its queries.
template <class T>
class ForwardTask {
 public:
  ForwardTask(const AttentionInputs<T>& in, const AttentionPattern::Group& group, int64_t kv_head,
              Arena& arena)
      : in_(in),
        group_(group),
        kv_head_(kv_head),
        kernel_(gemm_kernel(in.precision)),
        softmax_(softmax_kernel()),
        d_(in.shape.head_dim),
        cols_(kernel_.cols),
        key_tiles_(kernel_, group.key_end - group.key_begin),
        run_tiles_(std::max<int64_t>(1, kKeysPerRun / key_tiles_.height)),
        k_(kernel_, key_tiles_, d_, arena),
        v_(kernel_, key_tiles_.rows, d_, arena),
        q_panel_(arena.take<float>(kernel_.words(d_) * cols_ + kPackSlack)),
        scores_(arena.take<float>(run_tiles_ * key_tiles_.height * cols_)),
        rounded_(arena.take<float>(run_tiles_ * key_tiles_.height * cols_ + kPackSlack)),
        accumulator_(arena.take<float>(d_ * cols_)),
        transposed_(take_transposed(kernel_, d_, arena)),
        offset_(arena.take<float>(cols_)),
        sum_(arena.take<float>(cols_)),
        shrink_(arena.take<float>(cols_)) {
    k_.pack(kernel_, in.head(in.k, kv_head, group.key_begin, group.key_end));
    v_.pack(kernel_, in.head(in.v, kv_head, group.key_begin, group.key_end));
  }

  void attend(int64_t begin, int64_t end, Matrix out, Matrix log_sum_exp) {
    const int64_t heads = in_.heads_per_kv_head();
    for (int64_t sweep = begin; sweep < end; sweep += kPanelsPerSweep * cols_) {
      const int64_t sweep_end = std::min(sweep + kPanelsPerSweep * cols_, end);
      for (int64_t head = kv_head_ * heads; head < (kv_head_ + 1) * heads; ++head) {
        for (int64_t i = sweep; i < sweep_end; i += cols_) {
          attend_panel(head, i, std::min(i + cols_, end), out, log_sum_exp);
        }
      }
    }
  }

 private:
  // Queries [begin, end), at most a panel of them.
  void attend_panel(int64_t head, int64_t begin, int64_t end, Matrix out, Matrix log_sum_exp) {
    const ConstMatrix q = in_.head(in_.q, head, begin, end);
    kernel_.b.rows(q.data, q.stride, nullptr, q.rows, cols_, d_, q_panel_);
    std::fill_n(offset_, cols_, -std::numeric_limits<float>::infinity());
    std::fill_n(sum_, cols_, 0.0f);
    bool first_run = true;
    for_each_run(
        key_tiles_.count, run_tiles_,
        [&](int64_t tile) {
          return attends(in_.pattern, group_, begin, end, group_.key_begin + key_tiles_.first(tile),
                         group_.key_begin + key_tiles_.first(tile + 1));
        },
        [&](int64_t first, int64_t last) {
          add_run(begin, end, first, last, first_run);
          first_run = false;
        });
    if (first_run) std::fill_n(accumulator_, d_ * cols_, 0.0f);
    finish(in_.head(out, head, begin, end));
    if (!log_sum_exp.empty()) {
      for (int64_t i = begin; i < end; ++i) log_sum_exp(i, head) = log_sum_exp_of(i - begin);
    }
  }

  float factor() const { return in_.shape.scale * std::numbers::log2e_v<float>; }

  // scores = k·qᵀ over the key tiles [first, last), softmax so far, accumulator += vᵀ·weights.
  void add_run(int64_t begin, int64_t end, int64_t first, int64_t last, bool first_run) {
    const int64_t first_row = key_tiles_.first(first);
    const int64_t rows = key_tiles_.first(last) - first_row;
    for (int64_t tile = first; tile < last; ++tile) {
      kernel_.tile(key_tiles_.height_of(tile), k_.words, k_.tile(tile), q_panel_,
                   scores_ + (key_tiles_.first(tile) - first_row) * cols_, cols_, Write::set);
    }
    const int64_t first_key = group_.key_begin + first_row;
    for_each_hole(in_.pattern, group_, begin, end, first_key, first_key + rows,
                  [&](int64_t query, int64_t query_end, int64_t key, int64_t key_end) {
                    for (; key < key_end; ++key) {
                      std::fill_n(scores_ + (key - first_key) * cols_ + (query - begin),
                                  query_end - query, kMasked);
                    }
                  });
    softmax_.raise_offset(scores_, rows, cols_, factor(), offset_, sum_, shrink_);
    if (!first_run) softmax_.scale_columns(accumulator_, d_, cols_, shrink_);
    softmax_.exponentiate(scores_, rows, cols_, factor(), offset_, sum_);
    const float* weights = as_panel(kernel_, in_.precision, scores_, rows, rounded_);
    v_.multiply(kernel_, first_row, rows, weights, accumulator_,
                first_run ? Write::set : Write::add);
  }

  // out = accumulatorᵀ / sum
  void finish(Matrix out) {
    const ConstMatrix rows = transpose_panel(kernel_, accumulator_, out.rows, d_, transposed_);
    for (int64_t i = 0; i < out.rows; ++i) {
      const float inverse = sum_[i] == 0 ? 0.0f : 1.0f / sum_[i];
      const float* from = rows.row(i);
      float* to = out.row(i);
      for (int64_t j = 0; j < d_; ++j) to[j] = from[j] * inverse;
    }
  }

  // -infinity for a query without keys.
  float log_sum_exp_of(int64_t column) const {
    return std::numbers::ln2_v<float> * offset_[column] + std::log(sum_[column]);
  }

  const AttentionInputs<T>& in_;
  const AttentionPattern::Group& group_;
  int64_t kv_head_;
  const GemmKernel& kernel_;
  const SoftmaxKernel& softmax_;
  int64_t d_, cols_;
  SequenceTiles key_tiles_;
  int64_t run_tiles_;
  RowFactor k_;         // [keys, d]
  ColumnFactor v_;      // [d, keys]
  float* q_panel_;      // [words of d][cols]
  float* scores_;       // [keys of a run][cols]
  float* rounded_;      // the same as words
  float* accumulator_;  // [d][cols]
  float* transposed_;   // [cols][d]
  float* offset_;       // [cols], as are the next: the running softmax (softmax_kernel.h)
  float* sum_;
  float* shrink_;
};

}  // namespace

template <class T>
void tiled_attention_forward(const AttentionInputs<T>& in, Matrix out, Matrix log_sum_exp) {
  int64_t longest = 0;
  for (const auto& group : in.pattern.groups) {
    longest = std::max(longest, in.query_end(group) - in.query_begin(group));
  }
  const int64_t stretches = (longest + kQueriesPerTask - 1) / kQueriesPerTask;
  parallel_for(std::ssize(in.pattern.groups) * in.shape.kv_heads * stretches, [&](int64_t task) {
    const auto& group = in.pattern.groups[task / (in.shape.kv_heads * stretches)];
    const int64_t kv_head = task / stretches % in.shape.kv_heads;
    const int64_t begin = in.query_begin(group) + task % stretches * kQueriesPerTask;
    const int64_t end = std::min(begin + kQueriesPerTask, in.query_end(group));
    if (begin >= end) return;
    ArenaScope scope(thread_scratch());
    ForwardTask(in, group, kv_head, thread_scratch()).attend(begin, end, out, log_sum_exp);
  });
}

template void tiled_attention_forward(const AttentionInputs<float>&, Matrix, Matrix);
template void tiled_attention_forward(const AttentionInputs<bf16>&, Matrix, Matrix);

}  // namespace unmask
