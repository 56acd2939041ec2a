// Block experts (dMoE, arXiv 2605.30876): the tokens of a block vote for a coreset of experts, and
// each takes its k within it (docs/routing/block-experts.md).

#include "unmask/routing/coreset.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

class BlockExperts : public Selector {
 public:
  explicit BlockExperts(const RoutingPolicy& policy)
      : policy_(policy), routing_(policy), ballot_(policy) {}

  void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
              Decision& decision) const override {
    const int32_t least = coreset_least(policy_, static_cast<int32_t>(logits.cols));
    choose_coresets(policy_, logits, context, decision, [&](const RowBlock& block, auto coreset) {
      ArenaScope scope(thread_scratch());
      const auto votes = take_scratch<double>(logits.cols);
      ballot_.count_scores(logits, context, block, votes);
      mark_by_share(votes, policy_.block.p, least, coreset);
    });
    route_within_coresets(routing_, logits, context, assignment, decision);
  }

  int64_t max_slots(int64_t tokens, int64_t) const override { return tokens * routing_.k(); }

 private:
  RoutingPolicy policy_;
  TokenRouting routing_;
  Ballot ballot_;
};

}  // namespace

Result<std::unique_ptr<Selector>> make_block_experts(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_learns(policy));
  UNMASK_TRY_STATUS(check_token_routing(policy, experts));
  UNMASK_TRY_STATUS(check_block(policy));
  return std::unique_ptr<Selector>(std::make_unique<BlockExperts>(policy));
}

}  // namespace unmask
