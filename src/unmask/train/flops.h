#pragma once

#include <cstdint>

#include "unmask/model/config.h"

namespace unmask {

// Routed experts that a token passes through on average when its sequence is given k: k itself
// where tokens choose, what whole capacities leave of it where experts do,
// max(1, floor(n k / E)) E / n in groups of n tokens (a batch: so many that it is k). Within a
// coreset of C the same with C for E; C is that of the smallest coreset, max(coreset_min, k), since
// how many more the votes add is known only where there are logits.
double experts_per_token_given(const RoutingPolicy& policy, int32_t experts,
                               int32_t sequence_length, int32_t k);

// The same on average over the mask ratios of a schedule, where k follows them.
double mean_experts_per_token(const ModelConfig& config, int32_t sequence_length);

// Parameters that one token passes through, the embedding look-up left out.
double active_parameters(const ModelConfig& config, int32_t sequence_length);

// Forward and backward: 6 x active parameters + 12 x layers x sequence x (heads x head_dim). Models
// with blocks of B train on [noisy | clean]: a token of the data passes twice through all but the
// head, and both passes together see sequence + B keys.
double flops_per_token(const ModelConfig& config, int32_t sequence_length);

// The same for a sequence that is given k.
double flops_per_token_given(const ModelConfig& config, int32_t sequence_length, int32_t k);

}  // namespace unmask
