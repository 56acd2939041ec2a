#pragma once

#include <cstdint>

#include "unmask/model/config.h"

namespace unmask {

// Routed experts that a token passes through on average: k of token choice; what expert choice's
// rounding of capacities leaves of it in sequences of this length, mean over a schedule's range.
double mean_experts_per_token(const ModelConfig& config, int32_t sequence_length);

// Parameters that one token passes through, the embedding look-up left out.
double active_parameters(const ModelConfig& config, int32_t sequence_length);

// Forward and backward: 6 x active parameters + 12 x layers x sequence x (heads x head_dim).
double flops_per_token(const ModelConfig& config, int32_t sequence_length);

}  // namespace unmask
