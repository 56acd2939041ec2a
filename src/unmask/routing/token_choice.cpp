// Every token takes the k experts of largest score (docs/routing/token-choice.md).

#include "unmask/base/parallel.h"
#include "unmask/routing/pieces.h"
#include "unmask/routing/registry.h"
#include "unmask/routing/token_routing.h"

namespace unmask {
namespace {

class TokenChoice : public Selector {
 public:
  explicit TokenChoice(const RoutingPolicy& policy) : routing_(policy) {}

  void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
              Decision& decision) const override {
    ArenaScope scope(thread_scratch());
    const auto choices = routing_.take_choices(context, logits.rows);
    parallel_pieces(logits.rows, rows_at_once(logits.cols), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        if (context.is_padding(t)) continue;
        routing_.choose({logits.row(t), static_cast<size_t>(logits.cols)}, context.expert_bias,
                        choices.of(t));
      }
    });
    routing_.assign(logits, context, choices, assignment, decision);
  }

  int64_t max_slots(int64_t tokens, int64_t) const override { return tokens * routing_.k(); }

 private:
  TokenRouting routing_;
};

}  // namespace

Result<std::unique_ptr<Selector>> make_token_choice(const RoutingPolicy& policy, int32_t experts) {
  return make_top_k(policy, experts);
}

// The same with fewer experts than the model was trained with, at inference only: one expert is
// enough where nothing has to learn.
Result<std::unique_ptr<Selector>> make_top_k(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_token_routing(policy, experts));
  return std::unique_ptr<Selector>(std::make_unique<TokenChoice>(policy));
}

}  // namespace unmask
