// DES-Seq (arXiv 2602.00879), a training-free baseline of block experts: the coreset is the union
// of the k_vote best experts of every token of the block.

#include "unmask/routing/coreset.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

class DesSeq : public CoresetSelector {
 public:
  using CoresetSelector::CoresetSelector;

 private:
  void mark(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
            std::span<uint8_t> coreset) const override {
    ballot_.mark_best(logits, context, block, policy_.block.k_vote, coreset);
    // The few tokens of a short block may bring in fewer experts than each of them needs.
    if (std::count(coreset.begin(), coreset.end(), uint8_t{1}) >= routing_.k()) return;
    const auto votes = take_scratch<double>(logits.cols);
    ballot_.count_scores(logits, context, block, votes);
    mark_by_size(votes, routing_.k(), coreset);
  }
};

}  // namespace

Result<std::unique_ptr<Selector>> make_des_seq(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_token_routing(policy, experts));
  UNMASK_TRY_STATUS(check_block(policy));
  if (policy.block.k_vote < 1 || policy.block.k_vote > policy.experts_per_token) {
    return usage_error("routing.block.k_vote: expected 1 to {} (experts_per_token), found {}",
                       policy.experts_per_token, policy.block.k_vote);
  }
  return std::unique_ptr<Selector>(std::make_unique<DesSeq>(policy));
}

}  // namespace unmask
