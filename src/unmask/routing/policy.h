#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/routing/policies.h"

namespace unmask {

// A routing policy as its file says it (docs/routing): the `[routing]` table of a training
// configuration and `unmask.routing` of a model's config.json hold the same keys.
struct RoutingPolicy {
#define UNMASK_POLICY_ENUMERATOR(enumerator, name, chooser) enumerator,
  enum class Selection { UNMASK_ROUTING_POLICIES(UNMASK_POLICY_ENUMERATOR) };
#undef UNMASK_POLICY_ENUMERATOR
  enum class Weights { softmax, softmax_before, sigmoid };

  Selection policy = Selection::token_choice;
  int32_t experts_per_token = 8;  // k, nominal
  Weights weights = Weights::softmax;
  bool renormalize = true;   // softmax_before, sigmoid: chosen weights sum to one
  float scale = 1.0f;        // multiplies the weights
  bool monte_carlo = false;  // scale = "monte-carlo" (arXiv 2604.01622; docs/routing)

  // Expert choice: capacity that follows the mask ratio (capacity.h).
  struct Capacity {
    enum class Schedule {
      constant,
      linear,
      linear_reverse,
      cosine,
      cosine_reverse,
      bell,
      gaussian,
      gaussian_reverse,
      table,
    };
    struct Point {
      double mask_ratio = 0;  // in [0, 1], ascending
      double k = 1;           // experts per token, need not be whole
      bool operator==(const Point&) const = default;
    };
    struct Interval {
      double low = 0;
      double high = 1;
      bool operator==(const Interval&) const = default;
    };

    Schedule schedule = Schedule::constant;
    int32_t min = 0;      // experts per token where the schedule is lowest (table: 0 = its lowest)
    int32_t max = 0;      // and highest (likewise)
    double sigma = 0.22;  // width of the gaussians
    std::vector<Point> points = {};             // table
    std::optional<double> mean = std::nullopt;  // k that `scale` is solved for (budget.h)
    Interval distribution = {};                 // mask ratios, uniform, that the mean is over
    double scale = 1;                           // multiplies the shape
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

  // Expert choice: the tokens that compete for an expert.
  enum class Group { sequence, batch, block };
  Group selection = Group::sequence;

  // Token choice: an expert takes at most ceil(N k / E * capacity_factor) tokens of the batch.
  struct Drop {
    enum class Keep { probs, position };  // its largest weights, or its earliest tokens
    double capacity_factor = 1;
    Keep policy = Keep::probs;
    bool operator==(const Drop&) const = default;
  };
  std::optional<Drop> drop = std::nullopt;

  // Policies that restrict a block of tokens to a coreset of experts (arXiv 2605.30876), and the
  // size of the blocks that statistics count in.
  struct Block {
    int32_t size = 32;  // positions
    double p = 0.6;     // share of the votes that the coreset exceeds
    std::optional<double> p_min =
        std::nullopt;  // instead of p: from p_min to p_max as the schedule
    std::optional<double> p_max = std::nullopt;  // of `capacity` goes (coreset expert choice)
    int32_t coreset_min = 16;                    // experts; at most all
    int32_t pool = 48;                           // block-routing: experts; at most all
    double beta = 0.15;                          // des-vote: share of the experts in the coreset
    int32_t k_vote = 3;                          // des-seq: experts that each token brings in
    bool operator==(const Block&) const = default;
  };
  Block block = {};

  struct Balance {
    float switch_loss = 0;    // coefficients; token choice only
    float sequence_loss = 0;  // likewise
    float z_loss = 0;
    float bias_rate = 0;     // loss-free: step of the selection bias (bias_update.h)
    bool reference = false;  // weights as the public code has them under loss-free balancing: the
                             // softmax over all experts, neither renormalised nor scaled
    bool operator==(const Balance&) const = default;
  };
  Balance balance = {};

  bool operator==(const RoutingPolicy&) const = default;
};

}  // namespace unmask
