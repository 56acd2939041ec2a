#include "unmask/routing/token_choice.h"

#include <optional>

#include "unmask/base/parallel.h"
#include "unmask/kernels/top_k.h"
#include "unmask/routing/pieces.h"
#include "unmask/routing/scratch.h"
#include "unmask/routing/selection_scores.h"

namespace unmask {
namespace {

class TokenChoice : public Selector {
 public:
  explicit TokenChoice(const RoutingPolicy& policy) : policy_(policy) {}

  void select(ConstMatrix logits, const RouteContext& context,
              Assignment& assignment) const override {
    const int64_t tokens = logits.rows;
    const int32_t k = policy_.experts_per_token;
    ArenaScope scope(thread_scratch());
    const auto chosen_begin = take_scratch<int32_t>(tokens + 1);
    chosen_begin[0] = 0;
    for (int64_t t = 0; t < tokens; ++t) {
      chosen_begin[t + 1] = chosen_begin[t] + (context.is_padding(t) ? 0 : k);
    }
    const auto chosen = take_scratch<int32_t>(chosen_begin[tokens]);
    parallel_pieces(tokens, rows_at_once(logits.cols), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        if (context.is_padding(t)) continue;
        choose({logits.row(t), static_cast<size_t>(logits.cols)}, context.expert_bias,
               chosen.subspan(chosen_begin[t], k));
      }
    });
    assignment.build_by_token(static_cast<int32_t>(logits.cols), static_cast<int32_t>(tokens),
                              chosen_begin, chosen);
  }

  int64_t max_slots(int64_t tokens, int64_t) const override {
    return tokens * policy_.experts_per_token;
  }

 private:
  // The experts of one token.
  void choose(std::span<const float> logits, std::span<const float> bias,
              std::span<int32_t> chosen) const {
    // Every score is ascending in the logit, so that without bias and groups the logits decide
    // (and do so where the sigmoid saturates).
    if (bias.empty() && !policy_.groups) return top_k(logits, chosen);
    ArenaScope scope(thread_scratch());
    const auto scores = take_scratch<float>(std::ssize(logits));
    selection_scores(policy_.weights, logits, bias, scores);
    if (!policy_.groups) return top_k(scores, chosen);

    const auto kept = take_scratch<int32_t>(std::ssize(logits));
    const int64_t count = limit_to_groups(*policy_.groups, scores, kept);
    for (int64_t i = 0; i < count; ++i) scores[i] = scores[kept[i]];  // kept[i] >= i
    top_k(scores.first(count), chosen);
    for (int32_t& expert : chosen) expert = kept[expert];
  }

  RoutingPolicy policy_;
};

Status check_groups(const RoutingPolicy& policy, int32_t experts) {
  if (!policy.groups) return {};
  const auto [count, keep] = *policy.groups;
  if (policy.weights != RoutingPolicy::Weights::sigmoid) {
    return usage_error("routing.groups: expected weights = \"sigmoid\" with groups");
  }
  if (count < 1 || experts % count != 0) {
    return usage_error("routing.groups.count: expected a divisor of the {} experts, found {}",
                       experts, count);
  }
  if (keep < 1 || keep > count) {
    return usage_error("routing.groups.keep: expected 1 to {} (the groups), found {}", count, keep);
  }
  if (keep * (experts / count) < policy.experts_per_token) {
    return usage_error(
        "routing.groups.keep: {} groups of {} experts hold fewer than experts_per_token = {}; keep "
        "more groups",
        keep, experts / count, policy.experts_per_token);
  }
  return {};
}

// With one expert the normalised weight is always 1, and no gradient reaches the router.
Status check_single(const RoutingPolicy& policy) {
  const bool constant =
      policy.weights == RoutingPolicy::Weights::softmax ||
      (policy.weights == RoutingPolicy::Weights::softmax_before && policy.renormalize);
  if (policy.experts_per_token != 1 || !constant) return {};
  return usage_error(
      "routing.experts_per_token: with 1 expert per token the weight normalised over the chosen is "
      "always 1, so that the router never learns; take 2 or more, or weights = \"softmax-before\" "
      "with renormalize = false, or weights = \"sigmoid\"");
}

}  // namespace

Result<std::unique_ptr<Selector>> make_token_choice(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_single(policy));
  UNMASK_TRY_STATUS(check_groups(policy, experts));
  if (policy.capacity) {
    return usage_error(
        "routing.capacity: only expert choice has a capacity that follows the mask "
        "ratio; remove the table or take policy = \"expert-choice\"");
  }
  return std::unique_ptr<Selector>(std::make_unique<TokenChoice>(policy));
}

}  // namespace unmask
