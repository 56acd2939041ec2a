#pragma once

#include <memory>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/selector.h"

namespace unmask {

// Of each sequence every expert takes the c tokens of largest logit (capacity.h); equal logits go
// to the earlier token. Balanced by construction; a token has 0 to all experts. A selection bias
// moves all logits of an expert alike and so changes nothing. (arXiv 2604.01622, section 3)
Result<std::unique_ptr<Selector>> make_expert_choice(const RoutingPolicy& policy, int32_t experts);

}  // namespace unmask
