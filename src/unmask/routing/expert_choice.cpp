#include "unmask/routing/expert_choice.h"

#include <algorithm>

#include "unmask/base/parallel.h"
#include "unmask/kernels/top_k.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/pieces.h"
#include "unmask/routing/scratch.h"

namespace unmask {
namespace {

constexpr int64_t kExpertsAtOnce = 16;  // one cache line of each row of logits

// keys[e * stride + i] = key of expert first + e for the token rows[i].
void transpose_keys(ConstMatrix logits, std::span<const int32_t> rows, int64_t first, int64_t count,
                    int32_t* keys, int64_t stride) {
  constexpr int64_t kTile = 16;
  for (int64_t begin = 0; begin < std::ssize(rows); begin += kTile) {
    const int64_t end = std::min(begin + kTile, std::ssize(rows));
    int32_t tile[kExpertsAtOnce][kTile];
    for (int64_t i = begin; i < end; ++i) {
      const float* row = logits.row(rows[i]) + first;
      for (int64_t e = 0; e < count; ++e) tile[e][i - begin] = order_key(row[e]);
    }
    for (int64_t e = 0; e < count; ++e) {
      std::copy_n(tile[e], end - begin, keys + e * stride + begin);
    }
  }
}

class ExpertChoice : public Selector {
 public:
  ExpertChoice(const RoutingPolicy& policy, int32_t experts) : policy_(policy), experts_(experts) {}

  void select(ConstMatrix logits, const RouteContext& context,
              Assignment& assignment) const override {
    const int32_t sequences = context.sequences();
    ArenaScope scope(thread_scratch());
    const auto rows = take_scratch<int32_t>(logits.rows);  // without padding
    const auto row_begin = take_scratch<int32_t>(sequences + 1);
    const auto slot_begin = take_scratch<int32_t>(sequences + 1);  // of each expert
    row_begin[0] = slot_begin[0] = 0;
    for (int32_t b = 0; b < sequences; ++b) {
      int32_t end = row_begin[b];
      for (int32_t t = context.sequence_begin[b]; t < context.sequence_begin[b + 1]; ++t) {
        if (!context.is_padding(t)) rows[end++] = t;
      }
      row_begin[b + 1] = end;
      slot_begin[b + 1] = slot_begin[b] + static_cast<int32_t>(expert_capacity(
                                              end - row_begin[b], k_of(context, b), experts_));
    }

    assignment.experts = experts_;
    assignment.tokens = static_cast<int32_t>(logits.rows);
    assignment.expert_begin.resize(static_cast<size_t>(experts_) + 1);
    for (int32_t e = 0; e <= experts_; ++e) {
      assignment.expert_begin[e] = e * slot_begin[sequences];
    }
    assignment.token.resize(assignment.expert_begin.back());

    const int64_t blocks = (experts_ + kExpertsAtOnce - 1) / kExpertsAtOnce;
    const int64_t mean_length = logits.rows / std::max(1, sequences);
    parallel_pieces(sequences * blocks, rows_at_once(kExpertsAtOnce * mean_length),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t task = begin; task < end; ++task) {
                        const int64_t b = task / blocks;
                        choose(logits, rows.subspan(row_begin[b], row_begin[b + 1] - row_begin[b]),
                               task % blocks * kExpertsAtOnce, slot_begin[b],
                               slot_begin[b + 1] - slot_begin[b], assignment);
                      }
                    });
    assignment.finish();
  }

  int64_t max_slots(int64_t tokens, int64_t sequence_length) const override {
    if (tokens == 0) return 0;
    const int64_t sequences = (tokens + sequence_length - 1) / sequence_length;
    return sequences * experts_ *
           expert_capacity(sequence_length, most_experts_per_token(policy_), experts_);
  }

 private:
  // The tokens that some experts take of one sequence: `count` of `rows` each, written behind the
  // first `before` slots of the expert.
  void choose(ConstMatrix logits, std::span<const int32_t> rows, int64_t first_expert,
              int64_t before, int64_t count, Assignment& assignment) const {
    const int64_t experts = std::min<int64_t>(kExpertsAtOnce, experts_ - first_expert);
    // An odd number of cache lines from row to row, so that their starts do not collide.
    const int64_t stride = padded_keys(std::ssize(rows)) | 16;
    ArenaScope scope(thread_scratch());
    const auto keys = take_scratch<int32_t>(kExpertsAtOnce * stride);
    transpose_keys(logits, rows, first_expert, experts, keys.data(), stride);
    for (int64_t e = 0; e < experts; ++e) {
      const auto taken = std::span(assignment.token)
                             .subspan(assignment.expert_begin[first_expert + e] + before, count);
      top_k_keys(keys.subspan(e * stride, stride), std::ssize(rows), taken);
      for (int32_t& t : taken) t = rows[t];
    }
  }

  int32_t k_of(const RouteContext& context, int32_t sequence) const {
    if (!policy_.capacity) return policy_.experts_per_token;
    UNMASK_CHECK(std::ssize(context.mask_ratio) == context.sequences());
    return experts_per_token(policy_, context.mask_ratio[sequence]);
  }

  RoutingPolicy policy_;
  int32_t experts_;
};

}  // namespace

Result<std::unique_ptr<Selector>> make_expert_choice(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_capacity(policy, experts));
  if (policy.weights == RoutingPolicy::Weights::softmax_before) {
    return usage_error(
        "routing.weights: expert choice weighs over the experts that chose a token; "
        "expected softmax or sigmoid, found softmax-before");
  }
  if (policy.groups) {
    return usage_error("routing.groups: only token choice is limited to groups; remove the table");
  }
  if (policy.balance.switch_loss != 0 || policy.balance.sequence_loss != 0) {
    return usage_error(
        "routing.balance: expert choice is balanced by construction; expected "
        "switch = 0 and sequence = 0");
  }
  return std::unique_ptr<Selector>(std::make_unique<ExpertChoice>(policy, experts));
}

}  // namespace unmask
