// DES-Vote (arXiv 2602.00879), a training-free baseline of block experts: the tokens of a block
// vote with their combine weights, and the floor(beta E) experts with most votes are the coreset.

#include <cmath>

#include "unmask/routing/coreset.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

class DesVote : public CoresetSelector {
 public:
  using CoresetSelector::CoresetSelector;

 private:
  void mark(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
            std::span<uint8_t> coreset) const override {
    const double share = std::floor(policy_.block.beta * static_cast<double>(logits.cols));
    const auto votes = take_scratch<double>(logits.cols);
    ballot_.count_weights(logits, context, block, votes);
    mark_by_size(votes, std::max(static_cast<int32_t>(share), routing_.k()), coreset);
  }
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
