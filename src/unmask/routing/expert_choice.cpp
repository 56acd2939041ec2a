// Of each group of tokens every expert takes those of largest logit; equal logits go to the earlier
// token. Balanced by construction; a token has 0 to all experts. A selection bias moves all logits
// of an expert alike and so changes nothing. (arXiv 2604.01622, section 3; docs/routing)

#include <algorithm>

#include "unmask/base/parallel.h"
#include "unmask/kernels/top_k.h"
#include "unmask/routing/blocks.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/coreset.h"
#include "unmask/routing/expert_routing.h"
#include "unmask/routing/pieces.h"
#include "unmask/routing/registry.h"
#include "unmask/routing/scratch.h"

namespace unmask {
namespace {

using Group = RoutingPolicy::Group;

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

  void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
              Decision& decision) const override {
    give_k(policy_, context, decision);
    if (policy_.selection == Group::block) {
      for_each_block(context, policy_.block.size,
                     [&](const RowBlock& block) { decision.blocks.push_back(block); });
    }
    const int32_t groups = count_groups(context, decision);
    ArenaScope scope(thread_scratch());
    const auto rows = take_scratch<int32_t>(logits.rows);  // without padding
    const auto row_begin = take_scratch<int32_t>(groups + 1);
    const auto slot_begin = take_scratch<int32_t>(groups + 1);  // of each expert
    decision.capacity.resize(groups);
    row_begin[0] = slot_begin[0] = 0;
    for (int32_t g = 0; g < groups; ++g) {
      const RowBlock group = group_of(context, decision, g);
      const int32_t count = list_routed(context, group, rows.subspan(row_begin[g]));
      row_begin[g + 1] = row_begin[g] + count;
      decision.capacity[g] =
          static_cast<int32_t>(expert_capacity(count, decision.k[group.sequence], experts_));
      slot_begin[g + 1] = slot_begin[g] + decision.capacity[g];
    }

    assignment.experts = experts_;
    assignment.tokens = static_cast<int32_t>(logits.rows);
    assignment.expert_begin.resize(static_cast<size_t>(experts_) + 1);
    for (int32_t e = 0; e <= experts_; ++e) assignment.expert_begin[e] = e * slot_begin[groups];
    assignment.token.resize(assignment.expert_begin.back());

    const int64_t pieces = (experts_ + kExpertsAtOnce - 1) / kExpertsAtOnce;
    const int64_t mean_length = logits.rows / std::max(1, groups);
    parallel_pieces(groups * pieces, rows_at_once(kExpertsAtOnce * mean_length),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t task = begin; task < end; ++task) {
                        const int64_t g = task / pieces;
                        choose(logits, rows.subspan(row_begin[g], row_begin[g + 1] - row_begin[g]),
                               task % pieces * kExpertsAtOnce, slot_begin[g], decision.capacity[g],
                               assignment);
                      }
                    });
    assignment.finish();
  }

  int64_t max_slots(int64_t tokens, int64_t sequence_length) const override {
    if (tokens == 0) return 0;
    const int32_t k = most_experts_per_token(policy_);
    const int64_t sequences = (tokens + sequence_length - 1) / sequence_length;
    switch (policy_.selection) {
      case Group::sequence:
        return sequences * experts_ * expert_capacity(sequence_length, k, experts_);
      case Group::batch:  // floored once, not for each sequence
        return sequences * experts_ * (expert_capacity(sequence_length, k, experts_) + 1);
      case Group::block:
        return sequences * most_blocks(sequence_length, policy_.block.size) * experts_ *
               expert_capacity(std::min<int64_t>(sequence_length, policy_.block.size), k, experts_);
    }
    check_failed("every group is known", __FILE__, __LINE__);
  }

 private:
  // The tokens that some experts take of one group: `count` of `rows` each, written behind the
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

  int32_t count_groups(const RouteContext& context, const Decision& decision) const {
    switch (policy_.selection) {
      case Group::sequence:
        return context.sequences();
      case Group::batch:
        return 1;
      case Group::block:
        return static_cast<int32_t>(decision.blocks.size());
    }
    check_failed("every group is known", __FILE__, __LINE__);
  }

  RowBlock group_of(const RouteContext& context, const Decision& decision, int32_t g) const {
    if (policy_.selection == Group::block) return decision.blocks[g];
    if (policy_.selection == Group::batch) {
      return {.begin = 0, .end = context.sequence_begin.back(), .sequence = 0};
    }
    return {
        .begin = context.sequence_begin[g], .end = context.sequence_begin[g + 1], .sequence = g};
  }

  RoutingPolicy policy_;
  int32_t experts_;
};

}  // namespace

Result<std::unique_ptr<Selector>> make_expert_choice(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_expert_routing(policy, experts));
  if (policy.selection == Group::block) UNMASK_TRY_STATUS(check_block(policy));
  return std::unique_ptr<Selector>(std::make_unique<ExpertChoice>(policy, experts));
}

}  // namespace unmask
