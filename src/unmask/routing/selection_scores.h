#pragma once

#include <cstdint>
#include <span>

#include "unmask/routing/policy.h"

namespace unmask {

// What a token's experts are ranked by: the logit (the order of the softmax), or with sigmoid
// weights the sigmoid, plus the selection bias when there is one (LLaDA2; arXiv 2408.15664).
// Vectors are [experts].
void selection_scores(RoutingPolicy::Weights weights, std::span<const float> logits,
                      std::span<const float> expert_bias, std::span<float> scores);

// Group-limited routing (LLaDA2): the experts of the `keep` groups whose two best scores have the
// largest sum, ascending. Returns how many; `kept` [experts] receives them.
int64_t limit_to_groups(RoutingPolicy::Groups groups, std::span<const float> scores,
                        std::span<int32_t> kept);

}  // namespace unmask
