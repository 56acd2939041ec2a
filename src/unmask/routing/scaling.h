#pragma once

#include <cstdint>
#include <vector>

#include "unmask/routing/policy.h"

namespace unmask {

// Scaling factors [experts + 1], by the number n of experts of a token: what its weights are
// multiplied by. The policy's constant, or with monte_carlo the factors that give the routed sum
// the norm of `shared_experts` independent shared experts (arXiv 2604.01622, appendix):
//   mean over draws of sqrt(shared_experts) / |w|
// Where experts choose, w is the softmax of n standard normal logits, whatever the weights of the
// policy, as in the paper's code; where tokens do, the policy's weights of the k largest of
// `experts` such logits, the same for every n. factor[0] = 1; all are 1 with balance.reference. The
// draws are fixed; a result is computed once in a process.
std::vector<float> scaling_factors(const RoutingPolicy& policy, int32_t experts,
                                   int32_t shared_experts);

}  // namespace unmask
