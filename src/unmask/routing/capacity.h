#pragma once

#include <cstdint>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"

namespace unmask {

// Experts that a layer of any model has at most.
inline constexpr int32_t kMostExperts = 1 << 14;

// Timestep-dependent capacity (arXiv 2604.01622, section 4): the experts per token of a sequence
// follow its mask ratio r,
//   k = clamp(round_half_even(min + (max - min) s(r)), min, max).

// s(r) in [0, 1]: where between its bounds a schedule stands at mask ratio r in [0, 1].
//   linear            r                        linear-reverse    1 - r
//   cosine            (1 - cos(pi r)) / 2      cosine-reverse    (1 + cos(pi r)) / 2
//   bell              1 - 4 (r - 1/2)^2        static            1
//   gaussian          (exp(-(r - 1/2)^2 / (2 sigma^2)) - e0) / (1 - e0), e0 its value at 0 and 1
//   gaussian-reverse  1 - gaussian
//   table             (k(r) - min) / (max - min), k piecewise linear through the points
// times the budget's `scale`, cut off at 1.
double schedule_shape(const RoutingPolicy::Capacity& capacity, double mask_ratio);

// k(r); `capacity` is not static.
int32_t scheduled_experts(const RoutingPolicy::Capacity& capacity, double mask_ratio);

// Experts per token that a sequence of this mask ratio is given: the schedule's, or the policy's
// nominal k when none varies it.
int32_t experts_per_token(const RoutingPolicy& policy, double mask_ratio);

// The least and the most that any mask ratio is given.
int32_t least_experts_per_token(const RoutingPolicy& policy);
int32_t most_experts_per_token(const RoutingPolicy& policy);

// Whether k follows the mask ratio.
bool varies(const RoutingPolicy& policy);

// Tokens that each expert takes of n: max(1, floor(n k / experts)); none of none.
int64_t expert_capacity(int64_t tokens, int32_t experts_per_token, int32_t experts);

// Refuses bounds, points or an interval that describe no schedule, whatever the experts: at most
// kMostExperts of them.
Status check_schedule(const RoutingPolicy::Capacity& capacity);

// Refuses in addition what lies outside [1, experts], and a mean that the scale does not meet.
Status check_capacity(const RoutingPolicy& policy, int32_t experts);

}  // namespace unmask
