#pragma once

#include <cstdint>

#include "unmask/base/result.h"
#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/router.h"
#include "unmask/routing/weighting.h"

namespace unmask {

// Slots that an expert has for a batch of `tokens`: ceil(tokens k / experts * capacity_factor), at
// most one for each token.
int64_t slots_per_expert(const RoutingPolicy& policy, int64_t tokens, int32_t experts);

// Takes from `assignment`, which holds every choice, what experts have no room for, and lists it in
// `decision`. `probs`: an expert keeps the tokens with its largest weights; `position`: those
// earliest in their sequences, so that no sequence of the batch comes before another. Equal ones go
// to the lower row. The weights are those of all k choices, over the biased logits with
// balance.reference, as in the public code.
void drop_beyond_capacity(const RoutingPolicy& policy, const Weighting& weighting,
                          ConstMatrix logits, const RouteContext& context, Assignment& assignment,
                          Decision& decision);

// Refuses a factor that leaves no room.
Status check_drop(const RoutingPolicy& policy);

}  // namespace unmask
