#include "unmask/experiment/expert_parallel.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "unmask/base/check.h"

namespace unmask {

LoadImbalance load_imbalance(std::span<const double> tokens_per_expert) {
  const auto experts = static_cast<double>(tokens_per_expert.size());
  const double sum = std::accumulate(tokens_per_expert.begin(), tokens_per_expert.end(), 0.0);
  if (sum <= 0) return {};
  const double mean = sum / experts;
  double squares = 0;
  for (const double tokens : tokens_per_expert) squares += (tokens - mean) * (tokens - mean);
  return {.max_over_mean = std::ranges::max(tokens_per_expert) / mean,
          .variation = std::sqrt(squares / experts) / mean};
}

double expert_parallel_throughput(std::span<const double> tokens_per_expert, int32_t ranks) {
  UNMASK_CHECK(ranks >= 1);
  const int64_t experts = std::ssize(tokens_per_expert);
  double busiest = 0, sum = 0;
  for (int64_t rank = 0, begin = 0; rank < ranks; ++rank) {
    const int64_t end = begin + experts / ranks + (rank < experts % ranks ? 1 : 0);
    double tokens = 0;
    for (; begin < end; ++begin) tokens += tokens_per_expert[begin];
    busiest = std::max(busiest, tokens);
    sum += tokens;
  }
  return busiest > 0 ? sum / ranks / busiest : 1.0;
}

}  // namespace unmask
