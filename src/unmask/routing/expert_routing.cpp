#include "unmask/routing/expert_routing.h"

#include <algorithm>

#include "unmask/base/check.h"
#include "unmask/routing/capacity.h"

namespace unmask {

Status check_expert_routing(const RoutingPolicy& policy, int32_t experts) {
  UNMASK_TRY_STATUS(check_capacity(policy, experts));
  if (policy.weights == RoutingPolicy::Weights::softmax_before) {
    return usage_error(
        "routing.weights: expert choice weighs over the experts that chose a token; "
        "expected softmax or sigmoid, found softmax-before");
  }
  if (policy.drop) {
    return usage_error(
        "routing.drop: expert choice gives every expert its capacity; remove the table");
  }
  if (policy.groups) {
    return usage_error("routing.groups: only token choice is limited to groups; remove the table");
  }
  if (policy.balance.switch_loss != 0 || policy.balance.sequence_loss != 0) {
    return usage_error(
        "routing.balance: expert choice is balanced by construction; expected "
        "switch = 0 and sequence = 0");
  }
  return {};
}

void give_k(const RoutingPolicy& policy, const RouteContext& context, Decision& decision) {
  const int32_t sequences = context.sequences();
  decision.k.assign(sequences, policy.experts_per_token);
  if (!policy.capacity) return;
  UNMASK_CHECK(std::ssize(context.mask_ratio) == sequences);
  if (policy.selection == RoutingPolicy::Group::batch) {
    double masked = 0;
    for (int32_t b = 0; b < sequences; ++b) {
      const int32_t length = context.sequence_begin[b + 1] - context.sequence_begin[b];
      masked += static_cast<double>(context.mask_ratio[b]) * length;
    }
    const double ratio = masked / std::max(1, context.sequence_begin.back());
    std::ranges::fill(decision.k, experts_per_token(policy, ratio));
  } else {
    for (int32_t b = 0; b < sequences; ++b) {
      decision.k[b] = experts_per_token(policy, context.mask_ratio[b]);
    }
  }
}

int32_t list_routed(const RouteContext& context, const RowBlock& block, std::span<int32_t> rows) {
  int32_t count = 0;
  for (int32_t t = block.begin; t < block.end; ++t) {
    if (!context.is_padding(t)) rows[count++] = t;
  }
  return count;
}

}  // namespace unmask
