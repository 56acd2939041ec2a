#pragma once

// The plain twin of the routers: the equations of docs/routing as loops over a full
// [tokens, experts] matrix, in f64, with std::stable_sort. Here what all policies share;
// plain_policies.h has the policies.

#include "tests/support/numeric.h"
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "unmask/kernels/assignment.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/registry.h"
#include "unmask/routing/router.h"

namespace unmask::test {

// A batch that owns what a RouteContext borrows.
struct RoutedBatch {
  std::vector<int32_t> sequence_begin = {0};
  std::vector<float> mask_ratio;
  std::vector<uint8_t> padding;
  std::vector<int32_t> position;
  std::vector<float> expert_bias;

  void add_sequence(int32_t length, float ratio = 0.5f) {
    sequence_begin.push_back(sequence_begin.back() + length);
    mask_ratio.push_back(ratio);
  }
  int32_t tokens() const { return sequence_begin.back(); }
  bool padded(int64_t t) const { return !padding.empty() && padding[t]; }
  int32_t sequences() const { return static_cast<int32_t>(mask_ratio.size()); }
  int32_t position_of(int64_t t, int64_t b) const {
    return position.empty() ? static_cast<int32_t>(t) - sequence_begin[b] : position[t];
  }
  RouteContext context() const {
    return {.sequence_begin = sequence_begin,
            .mask_ratio = mask_ratio,
            .masked = {},
            .padding = padding,
            .position = position,
            .expert_bias = expert_bias};
  }
};

using Map = std::vector<std::vector<bool>>;      // [tokens][experts] routed
using Gates = std::vector<std::vector<double>>;  // [tokens][experts], 0 where not routed

inline Map empty_map(int64_t tokens, int64_t experts) {
  return Map(tokens, std::vector<bool>(experts));
}

// Positions of the k largest, earlier ones first among equals.
template <class T>
std::vector<int64_t> largest(const std::vector<T>& values, int64_t k) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return values[a] > values[b]; });
  order.resize(k);
  return order;
}

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// What token t ranks its experts by.
inline std::vector<double> plain_scores(const RoutingPolicy& policy, const TestMatrix& logits,
                                        const RoutedBatch& batch, int64_t t) {
  std::vector<double> score(logits.cols());
  const bool by_logit = policy.weights != RoutingPolicy::Weights::sigmoid ||
                        (batch.expert_bias.empty() && !policy.groups);
  for (int64_t e = 0; e < logits.cols(); ++e) {
    score[e] = by_logit ? static_cast<double>(logits(t, e)) : sigmoid(logits(t, e));
    if (!batch.expert_bias.empty()) score[e] += static_cast<double>(batch.expert_bias[e]);
  }
  return score;
}

// The experts of token t: the k best of `allowed`, from the kept groups first.
inline std::vector<int64_t> plain_choice(const RoutingPolicy& policy, const TestMatrix& logits,
                                         const RoutedBatch& batch, int64_t t,
                                         const std::vector<bool>& allowed) {
  const int64_t experts = logits.cols();
  const std::vector<double> score = plain_scores(policy, logits, batch, t);
  std::vector<bool> preferred(experts, true);
  if (policy.groups) {
    const int64_t size = experts / policy.groups->count;
    // Groups of two allowed experts before those of one, before those of none; then by the sum.
    std::vector<std::pair<int64_t, double>> group(policy.groups->count);
    for (int64_t g = 0; g < policy.groups->count; ++g) {
      std::vector<double> members;
      for (int64_t e = g * size; e < (g + 1) * size; ++e) {
        if (allowed[e]) members.push_back(score[e]);
      }
      group[g].first = std::min<int64_t>(2, std::ssize(members));
      for (const int64_t i : largest(members, group[g].first)) group[g].second += members[i];
    }
    preferred.assign(experts, false);
    for (const int64_t g : largest(group, policy.groups->keep)) {
      for (int64_t e = g * size; e < (g + 1) * size; ++e) preferred[e] = true;
    }
  }
  std::vector<std::pair<int, double>> ranked(experts);
  for (int64_t e = 0; e < experts; ++e) {
    ranked[e] = {!allowed[e] ? 0 : preferred[e] ? 2 : 1, score[e]};
  }
  return largest(ranked, policy.experts_per_token);
}

inline Map plain_token_choice(const RoutingPolicy& policy, const TestMatrix& logits,
                              const RoutedBatch& batch) {
  Map map = empty_map(logits.rows(), logits.cols());
  const std::vector<bool> all(logits.cols(), true);
  for (int64_t t = 0; t < logits.rows(); ++t) {
    if (batch.padded(t)) continue;
    for (const int64_t e : plain_choice(policy, logits, batch, t, all)) map[t][e] = true;
  }
  return map;
}

// One group of tokens that compete: `count` of `rows` for each expert.
inline void plain_take(const TestMatrix& logits, const std::vector<int64_t>& rows, int64_t e,
                       int64_t count, Map& map) {
  std::vector<float> column;
  for (const int64_t t : rows) column.push_back(logits(t, e));
  for (const int64_t i : largest(column, count)) map[rows[i]][e] = true;
}

// `scale` by the number of experts of a token.
inline Gates plain_gates(const RoutingPolicy& policy, const TestMatrix& logits, const Map& map,
                         const std::vector<float>& scale) {
  using Weights = RoutingPolicy::Weights;
  Gates gates(map.size(), std::vector<double>(logits.cols()));
  for (size_t t = 0; t < map.size(); ++t) {
    double all = 0, chosen = 0;
    int64_t count = 0;
    const auto value = [&](int64_t e) {
      const double z = logits(static_cast<int64_t>(t), e);
      return policy.weights == Weights::sigmoid ? sigmoid(z) : std::exp(z);
    };
    for (int64_t e = 0; e < logits.cols(); ++e) {
      all += value(e);
      if (map[t][e]) {
        chosen += value(e);
        ++count;
      }
    }
    double divisor = chosen;
    if (policy.weights == Weights::softmax_before && !policy.renormalize) divisor = all;
    const bool single = chooser_of(policy) == Chooser::token && policy.experts_per_token == 1;
    if (policy.weights == Weights::sigmoid) {
      divisor = policy.renormalize && !single ? chosen + 1e-20 : 1;
    }
    for (int64_t e = 0; e < logits.cols(); ++e) {
      if (map[t][e]) gates[t][e] = value(e) / divisor * static_cast<double>(scale[count]);
    }
  }
  return gates;
}

inline Map map_of(const Assignment& assignment) {
  Map map = empty_map(assignment.tokens, assignment.experts);
  for (int32_t e = 0; e < assignment.experts; ++e) {
    for (const int32_t t : assignment.tokens_of(e)) map[t][e] = true;
  }
  return map;
}

inline Gates gates_of(const Assignment& assignment) {
  Gates gates(assignment.tokens, std::vector<double>(assignment.experts));
  for (int32_t e = 0; e < assignment.experts; ++e) {
    for (int32_t s = assignment.expert_begin[e]; s < assignment.expert_begin[e + 1]; ++s) {
      gates[assignment.token[s]][e] = static_cast<double>(assignment.gate[s]);
    }
  }
  return gates;
}

// What an Assignment promises: tokens ascending inside experts, and a true inverse.
inline testing::AssertionResult well_formed(const Assignment& assignment) {
  for (int32_t e = 0; e < assignment.experts; ++e) {
    const auto tokens = assignment.tokens_of(e);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] < 0 || tokens[i] >= assignment.tokens ||
          (i > 0 && tokens[i] <= tokens[i - 1])) {
        return testing::AssertionFailure() << "tokens of expert " << e << " are not ascending";
      }
    }
  }
  int64_t slots = 0;
  for (int32_t t = 0; t < assignment.tokens; ++t) {
    for (const int32_t s : assignment.slots_of(t)) {
      if (assignment.token[s] != t) return testing::AssertionFailure() << "inverse of token " << t;
      ++slots;
    }
  }
  if (slots != assignment.slots()) return testing::AssertionFailure() << "inverse is incomplete";
  return testing::AssertionSuccess();
}

inline testing::AssertionResult near(const Gates& actual, const Gates& expected, double tolerance) {
  for (size_t t = 0; t < expected.size(); ++t) {
    for (size_t e = 0; e < expected[t].size(); ++e) {
      const double a = actual[t][e], b = expected[t][e];
      if (!(std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b)))) {
        return testing::AssertionFailure()
               << "gate of token " << t << ", expert " << e << " is " << a << ", expected " << b;
      }
    }
  }
  return testing::AssertionSuccess();
}

inline std::unique_ptr<Router> router_for(const RoutingPolicy& policy, int32_t experts,
                                          int32_t shared_experts = 1) {
  auto router = make_router(policy, experts, shared_experts);
  EXPECT_TRUE(router.ok()) << (router.ok() ? "" : router.error().message);
  return router.ok() ? std::move(router).value() : nullptr;
}

}  // namespace unmask::test
