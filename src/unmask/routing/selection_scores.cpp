#include "unmask/routing/selection_scores.h"

#include <algorithm>
#include <limits>

#include "unmask/kernels/softmax.h"
#include "unmask/kernels/top_k.h"
#include "unmask/routing/scratch.h"

namespace unmask {
namespace {

float sum_of_best_two(std::span<const float> scores) {
  float best = -std::numeric_limits<float>::infinity(), second = best;
  for (const float score : scores) {
    second = std::max(second, std::min(best, score));
    best = std::max(best, score);
  }
  return scores.size() == 1 ? best : best + second;
}

}  // namespace

void selection_scores(RoutingPolicy::Weights weights, std::span<const float> logits,
                      std::span<const float> expert_bias, std::span<float> scores) {
  if (weights == RoutingPolicy::Weights::sigmoid) {
    sigmoid_row(logits, scores);
  } else {
    std::copy(logits.begin(), logits.end(), scores.begin());
  }
  for (size_t e = 0; e < expert_bias.size(); ++e) scores[e] += expert_bias[e];
}

int64_t limit_to_groups(RoutingPolicy::Groups groups, std::span<const float> scores,
                        std::span<int32_t> kept) {
  const size_t size = scores.size() / static_cast<size_t>(groups.count);
  ArenaScope scope(thread_scratch());
  const auto group_scores = take_scratch<float>(groups.count);
  const auto best = take_scratch<int32_t>(groups.keep);
  for (size_t g = 0; g < group_scores.size(); ++g) {
    group_scores[g] = sum_of_best_two(scores.subspan(g * size, size));
  }
  top_k(group_scores, best);
  int64_t count = 0;
  for (const int32_t g : best) {
    for (size_t i = 0; i < size; ++i) {
      kept[count++] = g * static_cast<int32_t>(size) + static_cast<int32_t>(i);
    }
  }
  return count;
}

}  // namespace unmask
