#pragma once

#include <cstdint>
#include <functional>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"

namespace unmask {

// The compute that a schedule spends on average over mask ratios r ~ U(low, high), and the scale
// that makes it spend a stated amount. k is whole for every sequence, so what is met is the mean
// of the *rounded* k: each of its steps covers an interval of r, the ends of the intervals move
// continuously with the scale, and so does the mean. It is exact for mask ratios that fill the
// interval; a sequence of S tokens has a ratio m / S, and a sample of sequences a mean that
// scatters around it.

// What a token that is given k experts costs; must not fall as k rises.
using CostOfK = std::function<double(int32_t k)>;

// Mean of cost(k(r)) over the schedule's distribution; `capacity` passes check_schedule and is not
// static.
double mean_cost(const RoutingPolicy::Capacity& capacity, const CostOfK& cost);

// Mean of k(r).
double mean_experts_per_token(const RoutingPolicy::Capacity& capacity);

// The scale with which the mean cost is `target`, to float resolution. Refuses one that no scale
// meets, naming what can be reached: scaling moves k between `min` and `max`, and a table that is
// flat over an interval of r jumps over some means.
Result<double> solve_scale(const RoutingPolicy::Capacity& capacity, double target,
                           const CostOfK& cost);

// Sets `scale` so that `mean` is met, where one is asked for.
Status meet_budget(RoutingPolicy::Capacity& capacity);

// Refuses a schedule whose scale does not meet its `mean` (a policy that was not read from a file
// and has not been through meet_budget).
Status check_budget(const RoutingPolicy::Capacity& capacity);

}  // namespace unmask
