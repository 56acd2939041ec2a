#include "unmask/routing/token_routing.h"

#include <algorithm>
#include <numeric>

#include "unmask/kernels/top_k.h"
#include "unmask/routing/drop.h"
#include "unmask/routing/scratch.h"
#include "unmask/routing/selection_scores.h"

namespace unmask {
namespace {

std::span<float> gather(std::span<const float> values, std::span<const int32_t> index) {
  const auto gathered = take_scratch<float>(values.empty() ? 0 : std::ssize(index));
  for (size_t i = 0; i < gathered.size(); ++i) gathered[i] = values[index[i]];
  return gathered;
}

// The best of `scores` at `index`, as values of `index`.
void top_k_of(std::span<const float> scores, std::span<const int32_t> index,
              std::span<int32_t> chosen) {
  ArenaScope scope(thread_scratch());
  top_k(gather(scores, index), chosen);
  for (int32_t& i : chosen) i = index[i];
}

// The best of the groups that are kept, then of the others where those do not suffice, as positions
// in `allowed`.
void choose_of_groups(RoutingPolicy::Groups groups, int64_t experts,
                      std::span<const int32_t> allowed, std::span<const float> scores,
                      std::span<int32_t> chosen) {
  const auto index = take_scratch<int32_t>(std::ssize(allowed));
  const int64_t kept = limit_to_groups(groups, experts, allowed, scores, index);
  const int64_t inside = std::min(kept, std::ssize(chosen));
  top_k_of(scores, index.first(kept), chosen.first(inside));
  top_k_of(scores, index.subspan(kept), chosen.subspan(inside));
}

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

}  // namespace

TokenRouting::TokenRouting(const RoutingPolicy& policy) : policy_(policy) {
  RoutingPolicy ranking = policy;  // balance.reference changes what is combined, not what is ranked
  ranking.balance.reference = false;
  weighting_ = make_weighting(ranking);
}

void TokenRouting::choose(std::span<const float> logits, std::span<const float> bias,
                          std::span<int32_t> chosen) const {
  // Every score is ascending in the logit, so that without bias and groups the logits decide
  // (and do so where the sigmoid saturates).
  if (!policy_.groups && bias.empty()) return top_k(logits, chosen);
  ArenaScope scope(thread_scratch());
  const auto scores = take_scratch<float>(std::ssize(logits));
  selection_scores(policy_.weights, logits, bias, scores);
  if (!policy_.groups) return top_k(scores, chosen);
  const auto all = take_scratch<int32_t>(std::ssize(logits));
  std::iota(all.begin(), all.end(), 0);
  choose_of_groups(*policy_.groups, std::ssize(logits), all, scores, chosen);
}

void TokenRouting::choose_within(std::span<const float> logits, std::span<const float> bias,
                                 std::span<const int32_t> allowed,
                                 std::span<int32_t> chosen) const {
  ArenaScope scope(thread_scratch());
  const auto z = gather(logits, allowed);
  if (policy_.groups || !bias.empty()) {
    selection_scores(policy_.weights, z, gather(bias, allowed), z);
  }
  if (policy_.groups) {
    choose_of_groups(*policy_.groups, std::ssize(logits), allowed, z, chosen);
  } else {
    top_k(z, chosen);
  }
  for (int32_t& expert : chosen) expert = allowed[expert];
}

TokenRouting::Choices TokenRouting::take_choices(const RouteContext& context,
                                                 int64_t tokens) const {
  Choices choices;
  choices.begin = take_scratch<int32_t>(tokens + 1);
  choices.begin[0] = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    choices.begin[t + 1] = choices.begin[t] + (context.is_padding(t) ? 0 : k());
  }
  choices.expert = take_scratch<int32_t>(choices.begin[tokens]);
  return choices;
}

void TokenRouting::assign(ConstMatrix logits, const RouteContext& context, const Choices& choices,
                          Assignment& assignment, Decision& decision) const {
  assignment.build_by_token(static_cast<int32_t>(logits.cols), static_cast<int32_t>(logits.rows),
                            choices.begin, choices.expert);
  if (policy_.drop) {
    drop_beyond_capacity(policy_, *weighting_, logits, context, assignment, decision);
  }
}

Status check_token_routing(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_groups(policy, experts));
  UNMASK_TRY_STATUS(check_drop(policy));
  if (policy.capacity) {
    return usage_error(
        "routing.capacity: only expert choice has a capacity that follows the mask "
        "ratio; remove the table or take policy = \"expert-choice\"");
  }
  if (policy.block.p_min || policy.block.p_max) {
    return usage_error(
        "routing.block.p_min: p follows the mask ratio only where experts choose within a coreset; "
        "expected p alone");
  }
  if (policy.selection != RoutingPolicy::Group::sequence) {
    return usage_error(
        "routing.selection: only where experts choose do tokens compete; remove the key or take "
        "policy = \"expert-choice\"");
  }
  return {};
}

Status check_learns(const RoutingPolicy& policy) {
  const bool constant =
      policy.weights == RoutingPolicy::Weights::softmax ||
      (policy.weights == RoutingPolicy::Weights::softmax_before && policy.renormalize);
  using Selection = RoutingPolicy::Selection;
  const bool chosen = policy.policy == Selection::token_choice ||
                      policy.policy == Selection::block_experts ||
                      policy.policy == Selection::block_routing;
  if (policy.experts_per_token != 1 || !constant || !chosen) return {};
  return usage_error(
      "routing.experts_per_token: with 1 expert per token the weight normalised over the chosen is "
      "always 1, so that the router never learns; take 2 or more, or weights = \"softmax-before\" "
      "with renormalize = false, or weights = \"sigmoid\"");
}

}  // namespace unmask
