#pragma once

#include <cstdint>
#include <vector>

#include "unmask/model/config.h"
#include "unmask/model/tape.h"
#include "unmask/routing/statistics.h"

namespace unmask {

// What the router of one layer did over many forward passes. Means are over tokens.
struct RoutingSummary {
  int32_t layer = 0;
  int64_t tokens = 0;
  std::vector<int64_t> load;  // [experts] tokens of each expert
  double experts_per_token = 0;
  double experts_per_token_min = 0;
  double experts_per_token_max = 0;
  double share_without_expert = 0;
  double share_dropped = 0;
  double unique_experts_per_block = 0;
  double router_entropy = 0;  // nats

  double max_over_mean_load() const;  // 1 = balanced; 0 when nothing was routed
};

// Adds up the routing that forward passes leave on their tape.
class RoutingCollector {
 public:
  explicit RoutingCollector(const ModelConfig& config);

  void add(const RouteContext& context, const Tape& tape);
  const std::vector<RoutingSummary>& layers() const { return layers_; }  // the routed ones

 private:
  RoutingPolicy policy_;
  std::vector<RoutingSummary> layers_;
  RoutingStatistics statistics_;
};

}  // namespace unmask
