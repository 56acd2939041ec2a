#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/result.h"
#include "unmask/routing/blocks.h"
#include "unmask/routing/decision.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/router.h"

namespace unmask {

// Refuses keys that do not fit a policy in which experts choose.
Status check_expert_routing(const RoutingPolicy& policy, int32_t experts);

// The k of every sequence: that of its mask ratio, also in each of its blocks, or with
// selection = "batch" for all of them that of the mean over the batch's tokens.
void give_k(const RoutingPolicy& policy, const RouteContext& context, Decision& decision);

// Writes the rows of a block that are no padding to the beginning of `rows`; returns their number.
int32_t list_routed(const RouteContext& context, const RowBlock& block, std::span<int32_t> rows);

}  // namespace unmask
