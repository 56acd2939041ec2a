// Coreset expert choice: the tokens of a block vote for a coreset as in block experts, and inside
// it the experts choose: each of the C takes max(1, floor(n k / C)) of the block's n tokens, those
// of largest logit, equal ones the earlier. Experts touched and load are both bounded, where expert
// choice alone reads every expert for every block (docs/routing/coreset-expert-choice.md).

#include <algorithm>

#include "unmask/kernels/top_k.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/coreset.h"
#include "unmask/routing/expert_routing.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

class CoresetExpertChoice : public Selector {
 public:
  CoresetExpertChoice(const RoutingPolicy& policy, int32_t experts)
      : policy_(policy), ballot_(policy), experts_(experts) {}

  void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
              Decision& decision) const override {
    give_k(policy_, context, decision);
    choose_coresets(policy_, logits, context, decision, [&](const RowBlock& block, auto coreset) {
      ArenaScope scope(thread_scratch());
      const auto votes = take_scratch<double>(experts_);
      ballot_.count_scores(logits, context, block, votes);
      const int32_t least = coreset_least(policy_.block, decision.k[block.sequence], experts_);
      mark_by_share(votes, share_of(context, block.sequence), least, coreset);
    });

    // Slots of an expert stand in the order of the blocks, and in each by token.
    const int64_t blocks = std::ssize(decision.blocks);
    ArenaScope scope(thread_scratch());
    const auto first_slot = take_scratch<int32_t>(blocks * experts_);
    lay_out(context, first_slot, assignment, decision);
    assignment.tokens = static_cast<int32_t>(logits.rows);
    parallel_for(blocks, [&](int64_t b) {
      take_tokens(logits, context, b, first_slot.subspan(b * experts_, experts_), assignment,
                  decision);
    });
    assignment.finish();
  }

  int64_t max_slots(int64_t tokens, int64_t sequence_length) const override {
    if (tokens == 0) return 0;
    // n k / C tokens for each of C experts, or one for each.
    const int64_t sequences = (tokens + sequence_length - 1) / sequence_length;
    const int64_t most = most_blocks(sequence_length, policy_.block.size) * sequences;
    return tokens * most_experts_per_token(policy_) + most * experts_;
  }

 private:
  // p, or where the schedule stands between p_min and p_max at the sequence's mask ratio.
  double share_of(const RouteContext& context, int32_t sequence) const {
    const RoutingPolicy::Block& block = policy_.block;
    if (!block.p_min) return block.p;
    const double s =
        schedule_shape(*policy_.capacity, static_cast<double>(context.mask_ratio[sequence]));
    return *block.p_min + (*block.p_max - *block.p_min) * s;
  }

  // Capacities of the blocks, and where the slots of each block and expert begin.
  void lay_out(const RouteContext& context, std::span<int32_t> first_slot, Assignment& assignment,
               Decision& decision) const {
    const int64_t blocks = std::ssize(decision.blocks);
    decision.capacity.resize(blocks);
    for (int64_t b = 0; b < blocks; ++b) {
      const RowBlock& block = decision.blocks[b];
      const int64_t tokens = context.routed_tokens(block.begin, block.end);
      decision.capacity[b] = static_cast<int32_t>(expert_capacity(
          tokens, decision.k[block.sequence], std::max(1, decision.coreset_size[b])));
    }
    int32_t slots = 0;
    assignment.experts = experts_;
    assignment.expert_begin.resize(static_cast<size_t>(experts_) + 1);
    for (int32_t e = 0; e < experts_; ++e) {
      assignment.expert_begin[e] = slots;
      for (int64_t b = 0; b < blocks; ++b) {
        first_slot[b * experts_ + e] = slots;
        if (decision.coreset_of(b, experts_)[e]) slots += decision.capacity[b];
      }
    }
    assignment.expert_begin[experts_] = slots;
    assignment.token.resize(slots);
  }

  void take_tokens(ConstMatrix logits, const RouteContext& context, int64_t b,
                   std::span<const int32_t> first_slot, Assignment& assignment,
                   const Decision& decision) const {
    const RowBlock& block = decision.blocks[b];
    ArenaScope scope(thread_scratch());
    const auto rows = take_scratch<int32_t>(block.end - block.begin);
    const int64_t count = list_routed(context, block, rows);
    const auto keys = take_scratch<int32_t>(padded_keys(count));
    for (const int32_t e : list_coreset(decision, b, experts_)) {
      for (int64_t i = 0; i < count; ++i) keys[i] = order_key(logits(rows[i], e));
      const auto taken = std::span(assignment.token).subspan(first_slot[e], decision.capacity[b]);
      top_k_keys(keys, count, taken);
      for (int32_t& t : taken) t = rows[t];
    }
  }

  RoutingPolicy policy_;
  Ballot ballot_;
  int32_t experts_;
};

Status check_shares(const RoutingPolicy& policy) {
  const std::optional<double> p_min = policy.block.p_min, p_max = policy.block.p_max;
  if (policy.selection == RoutingPolicy::Group::batch) {
    return usage_error(
        "routing.selection: the tokens of a block compete; expected \"block\" or no such key");
  }
  if (!p_min && !p_max) return {};
  if (!p_min || !p_max || *p_min < 0 || *p_max > 1 || *p_min > *p_max) {
    return usage_error(
        "routing.block: p_min = {}, p_max = {}: expected both, 0 <= p_min <= p_max <= 1",
        p_min ? std::to_string(*p_min) : "none", p_max ? std::to_string(*p_max) : "none");
  }
  if (!policy.capacity) {
    return usage_error(
        "routing.block.p_min: the schedule that it follows is missing; expected the table "
        "routing.capacity (min = max leaves k as it is), or p alone");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Selector>> make_coreset_expert_choice(const RoutingPolicy& policy,
                                                             int32_t experts) {
  UNMASK_TRY_STATUS(check_expert_routing(policy, experts));
  UNMASK_TRY_STATUS(check_block(policy));
  UNMASK_TRY_STATUS(check_shares(policy));
  return std::unique_ptr<Selector>(std::make_unique<CoresetExpertChoice>(policy, experts));
}

}  // namespace unmask
