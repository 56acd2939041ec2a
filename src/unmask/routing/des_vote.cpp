// DES-Vote (arXiv 2602.00879), a training-free baseline of block experts: the tokens of a block
// vote with their combine weights, and the floor(beta E) experts with most votes are the coreset.

#include <cmath>

#include "unmask/routing/coreset.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

class DesVote : public Selector {
 public:
  explicit DesVote(const RoutingPolicy& policy)
      : policy_(policy), routing_(policy), ballot_(policy) {}

  void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
              Decision& decision) const override {
    const double share = std::floor(policy_.block.beta * static_cast<double>(logits.cols));
    const int32_t size = std::max(static_cast<int32_t>(share), routing_.k());
    choose_coresets(policy_, logits, context, decision, [&](const RowBlock& block, auto coreset) {
      ArenaScope scope(thread_scratch());
      const auto votes = take_scratch<double>(logits.cols);
      ballot_.count_weights(logits, context, block, votes);
      mark_by_size(votes, size, coreset);
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

Result<std::unique_ptr<Selector>> make_des_vote(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_token_routing(policy, experts));
  UNMASK_TRY_STATUS(check_block(policy));
  if (!(policy.block.beta > 0 && policy.block.beta <= 1)) {
    return usage_error(
        "routing.block.beta: expected more than 0 and at most 1 (share of the experts), found {}",
        policy.block.beta);
  }
  return std::unique_ptr<Selector>(std::make_unique<DesVote>(policy));
}

}  // namespace unmask
