#pragma once

#include <cstdint>
#include <span>

namespace unmask {

// Tokens of each expert, averaged over batches; what a layer's load is judged by.
struct LoadImbalance {
  double max_over_mean = 1;  // of the busiest expert; 1 = balanced
  double variation = 0;      // coefficient of variation: standard deviation / mean
};
LoadImbalance load_imbalance(std::span<const double> tokens_per_expert);

// An expert-parallel machine: `ranks` of them hold experts / ranks neighbouring experts each (the
// first ones one more where it does not divide; more ranks than experts: some hold none) and wait
// for each other in every layer, so that a layer takes as long as its busiest rank has tokens.
// Throughput against that of the same tokens in equal shares: (sum / ranks) / max of the ranks'
// tokens; 1 is perfect balance. Communication is not part of it.
double expert_parallel_throughput(std::span<const double> tokens_per_expert, int32_t ranks);

}  // namespace unmask
