#pragma once

#include <cstdint>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"

namespace unmask {

// Refuses keys that do not fit a policy in which experts choose.
Status check_expert_routing(const RoutingPolicy& policy, int32_t experts);

}  // namespace unmask
