// Block routing (LLaDA2.2, technical report, section 2.2): the experts that some token of a block
// scores highest make a pool of fixed size, and each token takes its k within it
// (docs/routing/block-routing.md).

#include "unmask/routing/coreset.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

class BlockRouting : public CoresetSelector {
 public:
  using CoresetSelector::CoresetSelector;

 private:
  void mark(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
            std::span<uint8_t> coreset) const override {
    const auto largest = take_scratch<double>(logits.cols);
    ballot_.find_largest(logits, context, block, largest);
    const auto experts = static_cast<int32_t>(logits.cols);
    mark_by_size(largest, std::min(policy_.block.pool, experts), coreset);
  }
};

}  // namespace

Result<std::unique_ptr<Selector>> make_block_routing(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_token_routing(policy, experts));
  UNMASK_TRY_STATUS(check_block(policy));
  if (policy.block.pool < policy.experts_per_token) {
    return usage_error("routing.block.pool: expected at least {} (experts_per_token), found {}",
                       policy.experts_per_token, policy.block.pool);
  }
  return std::unique_ptr<Selector>(std::make_unique<BlockRouting>(policy));
}

}  // namespace unmask
