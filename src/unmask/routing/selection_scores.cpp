#include "unmask/routing/selection_scores.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "unmask/kernels/softmax.h"
#include "unmask/routing/scratch.h"

namespace unmask {
namespace {

// The allowed experts of one group, as indices [begin, end) into the list of them, and what makes
// it better: how many there are (two count), then the sum of the two best scores.
struct Group {
  int32_t begin, end;
  float sum;
  bool kept;

  int32_t members() const { return std::min(end - begin, 2); }
  bool better_than(const Group& other) const {
    return members() != other.members() ? members() > other.members() : sum > other.sum;
  }
};

// The best two of some scores, or of every eighth of them in eight lanes.
template <class T>
struct BestTwo {
  T best = T() - std::numeric_limits<float>::infinity(), second = best;

  void add(T score) {
    const T lesser = score < best ? score : best;
    second = lesser > second ? lesser : second;
    best = score > best ? score : best;
  }
};

float sum_of_best_two(std::span<const float> scores) {
  using Lanes = float __attribute__((vector_size(32)));
  constexpr size_t kLanes = sizeof(Lanes) / sizeof(float);
  BestTwo<Lanes> lanes;
  BestTwo<float> all;
  size_t i = 0;
  for (; i + kLanes <= scores.size(); i += kLanes) {
    Lanes eight;
    std::memcpy(&eight, scores.data() + i, sizeof eight);
    lanes.add(eight);
  }
  for (; i < scores.size(); ++i) all.add(scores[i]);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    all.add(lanes.best[lane]);
    all.add(lanes.second[lane]);
  }
  return scores.size() < 2 ? all.best : all.best + all.second;
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

int64_t limit_to_groups(RoutingPolicy::Groups groups, int64_t experts,
                        std::span<const int32_t> allowed, std::span<const float> scores,
                        std::span<int32_t> index) {
  const auto size = static_cast<int32_t>(experts / groups.count);
  ArenaScope scope(thread_scratch());
  const auto group = take_scratch<Group>(groups.count);
  const auto count = static_cast<int32_t>(allowed.size());
  for (int32_t g = 0, begin = 0, end = 0; g < groups.count; ++g, begin = end) {
    end = std::min(begin + size, count);
    while (end > begin && allowed[end - 1] >= (g + 1) * size) --end;
    group[g] = {begin, end, sum_of_best_two(scores.subspan(begin, end - begin)), false};
  }
  for (int32_t round = 0; round < groups.keep; ++round) {
    int32_t best = -1;
    for (int32_t g = 0; g < groups.count; ++g) {
      if (!group[g].kept && (best < 0 || group[g].better_than(group[best]))) best = g;
    }
    group[best].kept = true;
  }
  int64_t kept = 0;
  for (const Group& g : group) kept += g.kept ? g.end - g.begin : 0;
  int64_t next_kept = 0, next_other = kept;
  for (const Group& g : group) {
    int64_t& next = g.kept ? next_kept : next_other;
    std::iota(index.begin() + next, index.begin() + next + (g.end - g.begin), g.begin);
    next += g.end - g.begin;
  }
  return kept;
}

}  // namespace unmask
