#pragma once

// The plain twins of the selections (plain_router.h).

#include "tests/routing/plain_router.h"
#include <cmath>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "unmask/routing/capacity.h"

namespace unmask::test {

// Rows of the tokens of a block, padding left out; blocks of padding alone are left out too.
struct PlainBlock {
  int64_t sequence;
  std::vector<int64_t> rows;
};

inline std::vector<PlainBlock> plain_blocks(const RoutedBatch& batch, int32_t size) {
  std::vector<PlainBlock> blocks;
  for (int32_t b = 0; b < batch.sequences(); ++b) {
    // A block is begun anew when positions fall back: the two halves of a doubled sequence.
    int32_t run = 0, before = -1;
    std::map<std::pair<int32_t, int32_t>, std::vector<int64_t>> of_sequence;
    for (int32_t t = batch.sequence_begin[b]; t < batch.sequence_begin[b + 1]; ++t) {
      const int32_t position = batch.position_of(t, b);
      run += position <= before;
      before = position;
      if (!batch.padded(t)) of_sequence[{run, position / size}].push_back(t);
    }
    for (auto& [key, rows] : of_sequence) blocks.push_back({b, std::move(rows)});
  }
  return blocks;
}

// Steps 1 and 2 of block experts, not normalised. Scores are f32, so that their f64 sums are exact
// and equal votes are equal.
inline std::vector<double> plain_votes(const RoutingPolicy& policy, const TestMatrix& logits,
                                       const RoutedBatch& batch, const std::vector<int64_t>& rows,
                                       bool by_weight) {
  RoutingPolicy ungrouped = policy;
  ungrouped.groups.reset();
  std::vector<double> votes(logits.cols());
  const std::vector<bool> all(logits.cols(), true);
  for (const int64_t t : rows) {
    const auto best = plain_choice(ungrouped, logits, batch, t, all);
    const auto z = [&](int64_t e) {
      const bool biased = !by_weight && !batch.expert_bias.empty();
      return static_cast<double>(logits(t, e)) + (biased ? double{batch.expert_bias[e]} : 0.0);
    };
    double everything = 0, chosen = 0, chosen_sigmoid = 0;
    for (int64_t e = 0; e < logits.cols(); ++e) everything += std::exp(z(e));
    for (const int64_t e : best) chosen += std::exp(z(e));
    for (const int64_t e : best) chosen_sigmoid += sigmoid(z(e));
    for (const int64_t e : best) {
      double vote = 0;
      if (policy.weights == RoutingPolicy::Weights::sigmoid) {
        if (by_weight) {
          const bool normalized = policy.renormalize && policy.experts_per_token > 1;
          vote = sigmoid(z(e)) / (normalized ? chosen_sigmoid : 1);
        } else {
          vote = sigmoid(logits(t, e)) +
                 (batch.expert_bias.empty() ? 0.0 : double{batch.expert_bias[e]});
        }
      } else {
        const bool before =
            policy.weights == RoutingPolicy::Weights::softmax_before && !policy.renormalize;
        vote = std::exp(z(e)) / (by_weight && !before ? chosen : everything);
      }
      votes[e] += static_cast<double>(static_cast<float>(std::max(vote, 0.0)));
    }
  }
  return votes;
}

// What block routing ranks the experts of a block by: the largest score that a token has for each.
inline std::vector<double> plain_largest(const RoutingPolicy& policy, const TestMatrix& logits,
                                         const RoutedBatch& batch,
                                         const std::vector<int64_t>& rows) {
  std::vector<double> best(logits.cols(), -std::numeric_limits<double>::infinity());
  for (const int64_t t : rows) {
    const auto bias = [&](int64_t e) {
      return batch.expert_bias.empty() ? 0.0 : double{batch.expert_bias[e]};
    };
    double everything = 0;
    for (int64_t e = 0; e < logits.cols(); ++e) everything += std::exp(logits(t, e) + bias(e));
    for (int64_t e = 0; e < logits.cols(); ++e) {
      const double score = policy.weights == RoutingPolicy::Weights::sigmoid
                               ? sigmoid(logits(t, e)) + bias(e)
                               : std::exp(logits(t, e) + bias(e)) / everything;
      best[e] = std::max(best[e], static_cast<double>(static_cast<float>(score)));
    }
  }
  return best;
}

// What a policy ranks the experts of a block by.
inline std::vector<double> plain_ranking(const RoutingPolicy& policy, const TestMatrix& logits,
                                         const RoutedBatch& batch,
                                         const std::vector<int64_t>& rows) {
  using Selection = RoutingPolicy::Selection;
  if (policy.policy == Selection::block_routing) return plain_largest(policy, logits, batch, rows);
  return plain_votes(policy, logits, batch, rows, policy.policy == Selection::des_vote);
}

// Step 3.
inline std::vector<bool> plain_share(const std::vector<double>& votes, double p, int64_t least) {
  std::vector<bool> coreset(votes.size());
  const double all = std::accumulate(votes.begin(), votes.end(), 0.0);
  double sum = 0;
  int64_t size = 0;
  for (const int64_t e : largest(votes, std::ssize(votes))) {
    if (size >= least && (sum > p * all || votes[e] == 0)) break;
    coreset[e] = true;
    sum += votes[e];
    ++size;
  }
  return coreset;
}

inline std::vector<bool> plain_coreset(const RoutingPolicy& policy, const TestMatrix& logits,
                                       const RoutedBatch& batch, const PlainBlock& block) {
  const int64_t experts = logits.cols(), k = policy.experts_per_token;
  const auto votes = plain_ranking(policy, logits, batch, block.rows);
  std::vector<bool> coreset(experts);
  switch (policy.policy) {
    case RoutingPolicy::Selection::des_seq: {
      RoutingPolicy voting = policy;
      voting.groups.reset();
      voting.experts_per_token = policy.block.k_vote;
      const std::vector<bool> all(experts, true);
      for (const int64_t t : block.rows) {
        for (const int64_t e : plain_choice(voting, logits, batch, t, all)) coreset[e] = true;
      }
      for (const int64_t e : largest(votes, experts)) {
        if (std::count(coreset.begin(), coreset.end(), true) >= k) break;
        coreset[e] = true;
      }
      return coreset;
    }
    case RoutingPolicy::Selection::des_vote: {
      const auto share = static_cast<int64_t>(policy.block.beta * static_cast<double>(experts));
      for (const int64_t e : largest(votes, std::max(k, share))) coreset[e] = true;
      return coreset;
    }
    case RoutingPolicy::Selection::block_routing: {
      const auto pool = std::min<int64_t>(policy.block.pool, experts);
      for (const int64_t e : largest(votes, pool)) coreset[e] = true;
      return coreset;
    }
    default:
      return plain_share(votes, policy.block.p,
                         std::min(experts, std::max<int64_t>(policy.block.coreset_min, k)));
  }
}

inline Map plain_within_coresets(const RoutingPolicy& policy, const TestMatrix& logits,
                                 const RoutedBatch& batch) {
  Map map = empty_map(logits.rows(), logits.cols());
  for (const PlainBlock& block : plain_blocks(batch, policy.block.size)) {
    const auto coreset = plain_coreset(policy, logits, batch, block);
    for (const int64_t t : block.rows) {
      for (const int64_t e : plain_choice(policy, logits, batch, t, coreset)) map[t][e] = true;
    }
  }
  return map;
}

// The groups of tokens that compete in expert choice, each with its sequence.
inline std::vector<PlainBlock> plain_groups(const RoutingPolicy& policy, const RoutedBatch& batch) {
  if (policy.selection == RoutingPolicy::Group::block) {
    return plain_blocks(batch, policy.block.size);
  }
  std::vector<PlainBlock> groups;
  for (int32_t b = 0; b < batch.sequences(); ++b) {
    if (b == 0 || policy.selection == RoutingPolicy::Group::sequence) groups.push_back({b, {}});
    for (int32_t t = batch.sequence_begin[b]; t < batch.sequence_begin[b + 1]; ++t) {
      if (!batch.padded(t)) groups.back().rows.push_back(t);
    }
  }
  return groups;
}

inline int64_t plain_k(const RoutingPolicy& policy, const RoutedBatch& batch, int64_t sequence) {
  if (policy.selection != RoutingPolicy::Group::batch) {
    return experts_per_token(policy, batch.mask_ratio[sequence]);
  }
  double masked = 0;
  for (int32_t b = 0; b < batch.sequences(); ++b) {
    masked += static_cast<double>(batch.mask_ratio[b]) *
              (batch.sequence_begin[b + 1] - batch.sequence_begin[b]);
  }
  return experts_per_token(policy, masked / std::max(1, batch.tokens()));
}

inline Map plain_expert_choice(const RoutingPolicy& policy, const TestMatrix& logits,
                               const RoutedBatch& batch) {
  Map map = empty_map(logits.rows(), logits.cols());
  for (const PlainBlock& group : plain_groups(policy, batch)) {
    const int64_t n = std::ssize(group.rows);
    if (n == 0) continue;
    const int64_t capacity =
        std::max<int64_t>(1, n * plain_k(policy, batch, group.sequence) / logits.cols());
    for (int64_t e = 0; e < logits.cols(); ++e) plain_take(logits, group.rows, e, capacity, map);
  }
  return map;
}

inline Map plain_coreset_expert_choice(const RoutingPolicy& policy, const TestMatrix& logits,
                                       const RoutedBatch& batch) {
  Map map = empty_map(logits.rows(), logits.cols());
  for (const PlainBlock& block : plain_blocks(batch, policy.block.size)) {
    const auto ratio = static_cast<double>(batch.mask_ratio[block.sequence]);
    const int64_t k = experts_per_token(policy, ratio);
    double p = policy.block.p;
    if (policy.block.p_min) {
      const double s = schedule_shape(*policy.capacity, ratio);
      p = *policy.block.p_min + s * (*policy.block.p_max - *policy.block.p_min);
    }
    const auto coreset =
        plain_share(plain_votes(policy, logits, batch, block.rows, false), p,
                    std::min(logits.cols(), std::max<int64_t>(policy.block.coreset_min, k)));
    const auto size = std::count(coreset.begin(), coreset.end(), true);
    const int64_t capacity = std::max<int64_t>(1, std::ssize(block.rows) * k / size);
    for (int64_t e = 0; e < logits.cols(); ++e) {
      if (coreset[e]) plain_take(logits, block.rows, e, capacity, map);
    }
  }
  return map;
}

inline Map plain_map(const RoutingPolicy& policy, const TestMatrix& logits,
                     const RoutedBatch& batch) {
  switch (policy.policy) {
    case RoutingPolicy::Selection::token_choice:
    case RoutingPolicy::Selection::top_k:
      return plain_token_choice(policy, logits, batch);
    case RoutingPolicy::Selection::expert_choice:
      return plain_expert_choice(policy, logits, batch);
    case RoutingPolicy::Selection::coreset_expert_choice:
      return plain_coreset_expert_choice(policy, logits, batch);
    default:
      return plain_within_coresets(policy, logits, batch);
  }
}

// What of `map` a capacity leaves: of each expert the tokens of largest gate, or the earliest.
inline Map plain_drop(const RoutingPolicy& policy, const RoutedBatch& batch, Map map,
                      const Gates& gates) {
  int64_t tokens = 0;
  std::vector<double> earliness(map.size());
  for (int32_t b = 0; b < batch.sequences(); ++b) {
    for (int32_t t = batch.sequence_begin[b]; t < batch.sequence_begin[b + 1]; ++t) {
      tokens += !batch.padded(t);
      earliness[t] = -batch.position_of(t, b);
    }
  }
  const auto experts = static_cast<int64_t>(map.front().size());
  const auto capacity =
      static_cast<int64_t>(std::ceil(static_cast<double>(tokens * policy.experts_per_token) /
                                     static_cast<double>(experts) * policy.drop->capacity_factor));
  for (int64_t e = 0; e < experts; ++e) {
    std::vector<int64_t> rows;
    std::vector<double> rank;
    for (size_t t = 0; t < map.size(); ++t) {
      if (!map[t][e]) continue;
      rows.push_back(static_cast<int64_t>(t));
      rank.push_back(policy.drop->policy == RoutingPolicy::Drop::Keep::probs ? gates[t][e]
                                                                             : earliness[t]);
      map[t][e] = false;
    }
    for (const int64_t i : largest(rank, std::min(capacity, std::ssize(rows)))) {
      map[rows[i]][e] = true;
    }
  }
  return map;
}

}  // namespace unmask::test
