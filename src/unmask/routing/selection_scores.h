#pragma once

#include <cstdint>
#include <span>

#include "unmask/routing/policy.h"

namespace unmask {

// What a token's experts are ranked by: the logit (the order of the softmax), or with sigmoid
// weights the sigmoid, plus the selection bias when there is one (LLaDA2; arXiv 2408.15664).
// Vectors are of equal length; an empty bias is none.
void selection_scores(RoutingPolicy::Weights weights, std::span<const float> logits,
                      std::span<const float> expert_bias, std::span<float> scores);

// Group-limited routing (LLaDA2) among the experts `allowed` (ascending), whose scores are given:
// the groups are those of `experts` neighbours cut in groups.count; the `keep` best ones are kept.
// A group is as good as the sum of its two best scores; one with a single allowed expert stands
// behind all that have two, one with none last. Equal groups go to the lower index. Writes the
// indices into `allowed` of the experts in kept groups, ascending, then those of the others, and
// returns how many are kept.
int64_t limit_to_groups(RoutingPolicy::Groups groups, int64_t experts,
                        std::span<const int32_t> allowed, std::span<const float> scores,
                        std::span<int32_t> index);

}  // namespace unmask
