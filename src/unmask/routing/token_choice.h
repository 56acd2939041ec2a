#pragma once

#include <memory>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/selector.h"

namespace unmask {

// Every token takes the k experts of largest score, of the kept groups when there are groups;
// equal scores go to the lower expert. Dropless: exactly k slots for each token.
Result<std::unique_ptr<Selector>> make_token_choice(const RoutingPolicy& policy, int32_t experts);

}  // namespace unmask
