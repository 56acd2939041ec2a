#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "unmask/base/result.h"

namespace unmask {

// A routing policy as its file says it (docs/routing.md): the `[routing]` table of a training
// configuration and `unmask.routing` of a model's config.json hold the same keys.
struct RoutingPolicy {
  enum class Selection { token_choice, expert_choice };
  enum class Weights { softmax, softmax_before, sigmoid };

  Selection policy = Selection::token_choice;
  int32_t experts_per_token = 8;  // k, nominal
  Weights weights = Weights::softmax;
  bool renormalize = true;   // softmax_before, sigmoid: chosen weights sum to one
  float scale = 1.0f;        // multiplies the weights
  bool monte_carlo = false;  // scale = "monte-carlo" (arXiv 2604.01622; docs/routing.md)

  // Expert choice: capacity that follows the mask ratio.
  struct Capacity {
    enum class Schedule { constant, linear_reverse };
    Schedule schedule = Schedule::constant;
    int32_t min = 0;  // experts per token where the schedule is lowest
    int32_t max = 0;  // and highest
    bool operator==(const Capacity&) const = default;
  };
  std::optional<Capacity> capacity = std::nullopt;

  // Token choice: group-limited top-k (LLaDA2).
  struct Groups {
    int32_t count = 1;
    int32_t keep = 1;
    bool operator==(const Groups&) const = default;
  };
  std::optional<Groups> groups = std::nullopt;

  struct Balance {
    float switch_loss = 0;    // coefficients; token choice only
    float sequence_loss = 0;  // likewise
    float z_loss = 0;
    bool operator==(const Balance&) const = default;
  };
  Balance balance = {};

  bool operator==(const RoutingPolicy&) const = default;
};

}  // namespace unmask
