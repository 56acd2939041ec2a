#pragma once

#include <cstdint>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"

namespace unmask {

// Timestep-dependent capacity (arXiv 2604.01622, section 4).

// s(r) in [0, 1]: where between `min` and `max` a schedule stands at mask ratio r.
double schedule_shape(RoutingPolicy::Capacity::Schedule schedule, double mask_ratio);

// Experts per token that a sequence of this mask ratio is given:
//   k = clamp(round_half_even(min + (max - min) s(r)), min, max),
// or the policy's nominal k when no schedule varies it.
int32_t experts_per_token(const RoutingPolicy& policy, double mask_ratio);

// The most that any mask ratio is given.
int32_t most_experts_per_token(const RoutingPolicy& policy);

// Tokens that each expert takes of n: max(1, floor(n k / experts)); none of none.
int64_t expert_capacity(int64_t tokens, int32_t experts_per_token, int32_t experts);

// Refuses bounds outside [1, experts] or in the wrong order.
Status check_capacity(const RoutingPolicy& policy, int32_t experts);

}  // namespace unmask
