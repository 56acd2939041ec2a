// DES-Seq (arXiv 2602.00879), a training-free baseline of block experts: the coreset is the union
// of the k_vote best experts of every token of the block.

#include "unmask/routing/coreset.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

class DesSeq : public Selector {
 public:
  explicit DesSeq(const RoutingPolicy& policy)
      : policy_(policy), routing_(policy), ballot_(policy) {}

  void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
              Decision& decision) const override {
    choose_coresets(policy_, logits, context, decision, [&](const RowBlock& block, auto coreset) {
      ballot_.mark_best(logits, context, block, policy_.block.k_vote, coreset);
      // The few tokens of a short block may bring in fewer experts than each of them needs.
      if (std::count(coreset.begin(), coreset.end(), uint8_t{1}) >= routing_.k()) return;
      ArenaScope scope(thread_scratch());
      const auto votes = take_scratch<double>(logits.cols);
      ballot_.count_scores(logits, context, block, votes);
      mark_by_size(votes, routing_.k(), coreset);
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
