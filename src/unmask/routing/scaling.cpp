#include "unmask/routing/scaling.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

#include "unmask/base/parallel.h"
#include "unmask/base/random.h"
#include "unmask/routing/registry.h"
#include "unmask/routing/weighting.h"

namespace unmask {
namespace {

constexpr int64_t kDraws = 10000;
constexpr int64_t kDrawsAtOnce = 250;
constexpr RandomKey kKey = {.seed = 42, .purpose = Purpose::monte_carlo};

void draw_normals(int64_t draw, std::span<float> x) {
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = random_normal(kKey, static_cast<uint64_t>(draw), static_cast<uint32_t>(i));
  }
}

// The mean over all draws of what `add_draw` adds to a vector of sums, in a fixed order.
template <class F>
std::vector<float> mean_of_draws(size_t values, F&& add_draw) {
  const int64_t pieces = (kDraws + kDrawsAtOnce - 1) / kDrawsAtOnce;
  std::vector<std::vector<double>> sums(pieces, std::vector<double>(values));
  parallel_pieces(kDraws, kDrawsAtOnce, [&](int64_t begin, int64_t end) {
    for (int64_t draw = begin; draw < end; ++draw) add_draw(draw, sums[begin / kDrawsAtOnce]);
  });
  std::vector<double> total(values);
  for (const auto& sum : sums) {
    for (size_t i = 0; i < values; ++i) total[i] += sum[i];
  }
  std::vector<float> mean(values);
  for (size_t i = 0; i < values; ++i) {
    mean[i] = static_cast<float>(total[i] / static_cast<double>(kDraws));
  }
  return mean;
}

// 1 / |softmax of the first n| for every n from the running sums of e^x and e^2x of one draw.
std::vector<float> expert_choice_factors(int32_t experts) {
  return mean_of_draws(static_cast<size_t>(experts) + 1, [&](int64_t draw, auto& sums) {
    std::vector<float> x(experts);
    draw_normals(draw, x);
    double first = 0, second = 0;
    for (int32_t n = 1; n <= experts; ++n) {
      const double e = std::exp(static_cast<double>(x[n - 1]));
      first += e;
      second += e * e;
      sums[n] += first / std::sqrt(second);
    }
  });
}

std::vector<float> token_choice_factors(const RoutingPolicy& policy, int32_t experts) {
  const auto weighting = make_weighting(policy);
  const auto k = static_cast<size_t>(policy.experts_per_token);
  const auto factor = mean_of_draws(1, [&](int64_t draw, auto& sums) {
    std::vector<float> x(experts), w(k);
    draw_normals(draw, x);
    std::partial_sort(x.begin(), x.begin() + policy.experts_per_token, x.end(), std::greater<>());
    weighting->forward(std::span(x).first(k), x, w);
    double squares = 0;
    for (const float weight : w) squares += static_cast<double>(weight) * weight;
    sums[0] += 1 / std::sqrt(squares);
  });
  return std::vector<float>(static_cast<size_t>(experts) + 1, factor[0]);
}

// Without the shared experts, which only multiply.
const std::vector<float>& unit_factors(const RoutingPolicy& policy, int32_t experts) {
  const bool expert_choice = chooser_of(policy) == Chooser::expert;
  // What the factors depend on.
  using Key = std::tuple<int32_t, int32_t, RoutingPolicy::Weights, bool>;
  const Key key = expert_choice
                      ? Key{experts, 0, RoutingPolicy::Weights::softmax, true}
                      : Key{experts, policy.experts_per_token, policy.weights, policy.renormalize};
  static std::mutex mutex;
  static std::map<Key, std::vector<float>> known;
  const std::lock_guard lock(mutex);
  auto& factors = known[key];
  if (factors.empty()) {
    factors =
        expert_choice ? expert_choice_factors(experts) : token_choice_factors(policy, experts);
  }
  return factors;
}

}  // namespace

std::vector<float> scaling_factors(const RoutingPolicy& policy, int32_t experts,
                                   int32_t shared_experts) {
  if (policy.balance.reference) return std::vector<float>(static_cast<size_t>(experts) + 1, 1.0f);
  if (!policy.monte_carlo) {
    return std::vector<float>(static_cast<size_t>(experts) + 1, policy.scale);
  }
  std::vector<float> factors = unit_factors(policy, experts);
  for (float& factor : factors) factor *= std::sqrt(static_cast<float>(shared_experts));
  factors[0] = 1;
  return factors;
}

}  // namespace unmask
