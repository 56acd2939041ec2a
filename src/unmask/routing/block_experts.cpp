// Block experts (dMoE, arXiv 2605.30876): the tokens of a block vote for a coreset of experts, and
// each takes its k within it (docs/routing/block-experts.md).

#include "unmask/routing/coreset.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

class BlockExperts : public CoresetSelector {
 public:
  using CoresetSelector::CoresetSelector;

 private:
  void mark(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
            std::span<uint8_t> coreset) const override {
    const auto votes = take_scratch<double>(logits.cols);
    ballot_.count_scores(logits, context, block, votes);
    const int32_t least =
        coreset_least(policy_.block, policy_.experts_per_token, static_cast<int32_t>(logits.cols));
    mark_by_share(votes, policy_.block.p, least, coreset);
  }
};

}  // namespace

Result<std::unique_ptr<Selector>> make_block_experts(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_token_routing(policy, experts));
  UNMASK_TRY_STATUS(check_block(policy));
  return std::unique_ptr<Selector>(std::make_unique<BlockExperts>(policy));
}

}  // namespace unmask
