#pragma once

// Random policies and batches for the tests of routers.

#include "tests/routing/plain_policies.h"
#include <algorithm>
#include <cstdint>
#include <vector>

#include "unmask/base/random.h"

namespace unmask::test {

using Selection = RoutingPolicy::Selection;
using Weights = RoutingPolicy::Weights;

inline RoutingPolicy token_choice(Weights weights, int32_t k) {
  return {.policy = Selection::token_choice, .experts_per_token = k, .weights = weights};
}
inline RoutingPolicy expert_choice(Weights weights, int32_t k) {
  return {.policy = Selection::expert_choice, .experts_per_token = k, .weights = weights};
}

inline std::vector<Selection> all_policies() {
  std::vector<Selection> all;
  for (const PolicyEntry& entry : policies()) all.push_back(entry.policy);
  return all;
}

inline bool has_coresets(Selection policy) {
  return policy != Selection::token_choice && policy != Selection::top_k &&
         policy != Selection::expert_choice;
}

struct Case {
  RoutingPolicy policy;
  int32_t experts = 0;
  RoutedBatch batch;
  TestMatrix logits{0, 0};
};

// Logits of few different values have ties everywhere. They are not symmetric about 0, where sums
// of sigmoids would be equal but for their rounding.
inline TestMatrix tied_logits(int64_t rows, int64_t cols, uint64_t seed) {
  TestMatrix logits(rows, cols);
  const auto ids = random_ids(rows * cols, 4, seed);
  for (int64_t i = 0; i < rows * cols; ++i) logits.flat()[i] = static_cast<float>(ids[i]) - 1.25f;
  return logits;
}

// Numbers by seed and running index.
class Picker {
 public:
  explicit Picker(uint64_t seed) : seed_(seed) {}
  int32_t operator()(int32_t least, int32_t most) {
    return least +
           static_cast<int32_t>(random_below({seed_, Purpose::synthetic},
                                             static_cast<uint64_t>(most - least + 1), next_++, 77));
  }
  bool coin() { return (*this)(0, 1) == 1; }

 private:
  uint64_t seed_;
  uint32_t next_ = 0;
};

// Ragged sequences, of `most` tokens at most, with padding and positions of their own at times.
inline RoutedBatch random_batch(Picker& pick, int32_t most) {
  RoutedBatch batch;
  for (int32_t b = 0, count = pick(1, 4); b < count; ++b) {
    batch.add_sequence(pick(1, most), static_cast<float>(pick(0, 100)) / 100.0f);
  }
  if (pick.coin()) {
    for (int32_t t = 0; t < batch.tokens(); ++t) batch.padding.push_back(pick(0, 3) == 0);
  }
  if (pick.coin()) {  // a later part of a sequence, or two halves that count from 0
    for (int32_t b = 0; b < batch.sequences(); ++b) {
      const int32_t length = batch.sequence_begin[b + 1] - batch.sequence_begin[b];
      const int32_t first = pick(0, 40), half = pick.coin() ? length : (length + 1) / 2;
      for (int32_t i = 0; i < length; ++i) batch.position.push_back(first + i % half);
    }
  }
  return batch;
}

// A policy of this kind that fits the number of experts.
inline RoutingPolicy random_policy(Picker& pick, Selection selection, int32_t experts) {
  RoutingPolicy policy;
  policy.policy = selection;
  const int32_t k = policy.experts_per_token = pick(2, experts);
  const bool token = chooser_of(policy) == Chooser::token;
  policy.weights = static_cast<Weights>(pick(0, 2));
  if (!token && policy.weights == Weights::softmax_before) policy.weights = Weights::softmax;
  policy.renormalize = pick.coin();
  policy.scale = pick.coin() ? 2.5f : 1.0f;
  policy.block = {.size = pick(1, 12),
                  .p = static_cast<double>(pick(0, 20)) / 20,
                  .coreset_min = pick(1, 8),
                  .pool = pick(k, experts + 2),
                  .beta = static_cast<double>(pick(1, 20)) / 20,
                  .k_vote = pick(1, k)};
  if (!token) {
    if (selection == Selection::expert_choice) {
      policy.selection = static_cast<RoutingPolicy::Group>(pick(0, 2));
    }
    if (pick.coin()) {
      policy.capacity = {.schedule = RoutingPolicy::Capacity::Schedule::linear_reverse,
                         .min = pick(1, k),
                         .max = k};
      if (has_coresets(selection) && pick.coin()) {
        policy.block.p_min = static_cast<double>(pick(0, 10)) / 20;
        policy.block.p_max = static_cast<double>(pick(10, 20)) / 20;
      }
    }
    return policy;
  }
  if (policy.weights == Weights::sigmoid && experts % 4 == 0 && pick.coin()) {
    const RoutingPolicy::Groups groups = {.count = 4, .keep = pick(1, 4)};
    if (groups.keep * (experts / 4) >= k) policy.groups = groups;
  }
  if (pick(0, 2) == 0) {
    policy.drop = {.capacity_factor = static_cast<double>(pick(1, 12)) / 8,
                   .policy = static_cast<RoutingPolicy::Drop::Keep>(pick(0, 1))};
  }
  return policy;
}

// Whether equal logits are equal in both, ours and the twin: f64 and f32 round sums differently,
// and so do sums of the same numbers in another order.
inline bool may_tie(const Case& c) {
  const bool by_weight =
      c.policy.policy == Selection::des_vote ||
      (c.policy.drop && c.policy.drop->policy == RoutingPolicy::Drop::Keep::probs) ||
      (has_coresets(c.policy.policy) && c.policy.weights != Weights::sigmoid);
  return c.batch.expert_bias.empty() && !c.policy.groups && !by_weight;
}

inline Case random_case(uint64_t seed, Selection selection, int32_t most_experts = 80,
                        int32_t most_tokens = 70) {
  Picker pick(seed);
  Case c;
  c.experts = pick(2, most_experts);
  if (pick.coin()) c.experts = std::max(4, c.experts / 4 * 4);
  c.policy = random_policy(pick, selection, c.experts);
  c.batch = random_batch(pick, most_tokens);
  if (chooser_of(c.policy) == Chooser::token && pick.coin()) {
    const TestMatrix bias = random_matrix(1, c.experts, seed + 1000, 0.1f);
    for (int32_t e = 0; e < c.experts; ++e) c.batch.expert_bias.push_back(bias(0, e));
  }
  c.logits = may_tie(c) && pick.coin() ? tied_logits(c.batch.tokens(), c.experts, seed)
                                       : random_matrix(c.batch.tokens(), c.experts, seed, 2.0f);
  return c;
}

// Any of the policies.
inline Case random_case(uint64_t seed) {
  const auto all = all_policies();
  return random_case(seed, all[seed % all.size()]);
}

struct Routed : Assignment {
  Decision decision;
};

inline Routed route(Router& router, const TestMatrix& logits, const RoutedBatch& batch) {
  Routed routed;
  router.select(logits, batch.context(), routed, routed.decision);
  router.weigh_forward(logits, routed.decision, routed);
  return routed;
}

}  // namespace unmask::test
