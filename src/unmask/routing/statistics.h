#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/router.h"

namespace unmask {

struct Spread {
  double mean = 0;
  double min = 0;
  double max = 0;
  double std = 0;  // of the population
};

// What one layer's router did in one forward pass. Padding is not counted anywhere.
struct RoutingStatistics {
  std::vector<int32_t> load;  // [experts] tokens of each expert
  Spread tokens_per_expert;
  double load_variation = 0;      // coefficient of variation: std / mean
  double max_over_mean_load = 0;  // 1 = balanced
  Spread experts_per_token;
  double share_without_expert = 0;      // of tokens
  double share_dropped = 0;             // of the choices of all tokens
  std::vector<int32_t> k;               // [sequences] experts per token that each was given
  double unique_experts_per_block = 0;  // mean over blocks of policy.block.size (arXiv 2605.30876)
  std::optional<Spread> coreset_size;   // of policies that have coresets, over blocks
  int32_t unique_experts = 0;           // of the whole pass
  double router_entropy = 0;            // nats, of softmax over all experts, mean over tokens
  std::optional<Spread> expert_bias;    // of the selection bias
};

// Fills `statistics`, reusing its memory.
void measure_routing(const RoutingPolicy& policy, ConstMatrix logits, const Decision& decision,
                     const Assignment& assignment, const RouteContext& context,
                     RoutingStatistics& statistics);

nlohmann::json to_json(const RoutingStatistics& statistics);

}  // namespace unmask
