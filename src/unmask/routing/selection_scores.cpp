#include "unmask/routing/selection_scores.h"

#include <algorithm>

#include "unmask/kernels/softmax.h"
#include "unmask/routing/scratch.h"

namespace unmask {
namespace {

// What makes a group better: allowed experts (at most two count), then the sum of their scores.
struct GroupScore {
  int32_t members = 0;
  float best = 0, second = 0;

  void add(float score) {
    if (members == 0 || score > best) {
      second = best;
      best = score;
    } else if (members == 1 || score > second) {
      second = score;
    }
    members = std::min(members + 1, 2);
  }
  float sum() const { return members == 2 ? best + second : best; }
  bool better_than(const GroupScore& other) const {
    return members != other.members ? members > other.members : sum() > other.sum();
  }
};

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

int64_t limit_to_groups(RoutingPolicy::Groups groups, int64_t experts,
                        std::span<const int32_t> allowed, std::span<const float> scores,
                        std::span<int32_t> index) {
  const auto size = static_cast<int32_t>(experts / groups.count);
  ArenaScope scope(thread_scratch());
  const auto group = take_scratch<GroupScore>(groups.count);
  const auto kept = take_scratch<uint8_t>(groups.count);
  std::fill(group.begin(), group.end(), GroupScore());
  std::fill(kept.begin(), kept.end(), 0);
  for (size_t i = 0; i < allowed.size(); ++i) group[allowed[i] / size].add(scores[i]);
  for (int32_t round = 0; round < groups.keep; ++round) {
    int32_t best = -1;
    for (int32_t g = 0; g < groups.count; ++g) {
      if (!kept[g] && (best < 0 || group[g].better_than(group[best]))) best = g;
    }
    kept[best] = 1;
  }
  int64_t count = 0, others = 0;
  const auto rest = take_scratch<int32_t>(std::ssize(allowed));
  for (int32_t i = 0; i < std::ssize(allowed); ++i) {
    if (kept[allowed[i] / size]) {
      index[count++] = i;
    } else {
      rest[others++] = i;
    }
  }
  std::copy_n(rest.begin(), others, index.begin() + count);
  return count;
}

}  // namespace unmask
