#include "unmask/routing/expert_routing.h"

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

}  // namespace unmask
