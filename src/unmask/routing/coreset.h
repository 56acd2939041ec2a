#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "unmask/base/arena.h"
#include "unmask/base/parallel.h"
#include "unmask/base/result.h"
#include "unmask/routing/blocks.h"
#include "unmask/routing/scratch.h"
#include "unmask/routing/selector.h"
#include "unmask/routing/token_routing.h"

namespace unmask {

// The pieces of policies that restrict the tokens of a block to a coreset of experts (block
// experts, arXiv 2605.30876, and its baselines). Votes are f64 sums of f32 values, exact for any
// order of the tokens, and not normalised: shares are taken of their sum.

// How the tokens of a block vote. All of them, masked or not; padding does not.
class Ballot {
 public:
  explicit Ballot(const RoutingPolicy& policy);

  // votes[e] = sum over the tokens that have e among their k best of the score
  //   u = sigmoid(l) + bias, for softmax routers softmax(l + bias), but at least 0.
  // The k best are not limited to groups.
  void count_scores(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
                    std::span<double> votes) const;
  // The same with the combine weights of a token's k best instead of their scores.
  void count_weights(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
                     std::span<double> votes) const;
  // largest[e] = max over the tokens of u, whatever k they choose.
  void find_largest(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
                    std::span<double> largest) const;
  // Marks the `k` best of every token.
  void mark_best(ConstMatrix logits, const RouteContext& context, const RowBlock& block, int32_t k,
                 std::span<uint8_t> coreset) const;

 private:
  TokenRouting routing_;  // without groups
  RoutingPolicy::Weights weights_;
};

// Marks the experts with most votes, equal ones by index.
// By share: the shortest prefix whose sum exceeds `p` of all votes, the expert that crosses
// included, but at least `least` (coreset_least) experts.
void mark_by_share(std::span<const double> votes, double p, int32_t least,
                   std::span<uint8_t> coreset);
// By size: until `size` experts are marked, those that are already included.
void mark_by_size(std::span<const double> votes, int32_t size, std::span<uint8_t> coreset);

// The fewest experts of a coreset: enough for a token's k, and coreset_min, but at most all.
int32_t coreset_least(const RoutingPolicy::Block& block, int32_t k, int32_t experts);

// Fills blocks, coreset and coreset_size of `decision`: mark(block, coreset) marks the experts of a
// block, on any thread. Blocks without a token to route have none.
template <class Mark>
void choose_coresets(const RoutingPolicy& policy, ConstMatrix logits, const RouteContext& context,
                     Decision& decision, Mark&& mark) {
  for_each_block(context, policy.block.size,
                 [&](const RowBlock& block) { decision.blocks.push_back(block); });
  const int64_t blocks = std::ssize(decision.blocks), experts = logits.cols;
  decision.coreset.assign(static_cast<size_t>(blocks * experts), 0);
  decision.coreset_size.assign(static_cast<size_t>(blocks), 0);
  parallel_for(blocks, [&](int64_t b) {
    const RowBlock& block = decision.blocks[b];
    if (context.routed_tokens(block.begin, block.end) == 0) return;
    const auto coreset = std::span(decision.coreset).subspan(b * experts, experts);
    mark(block, coreset);
    decision.coreset_size[b] =
        static_cast<int32_t>(std::count(coreset.begin(), coreset.end(), uint8_t{1}));
  });
}

// The experts of a block's coreset, ascending, in scratch memory of the calling thread.
std::span<const int32_t> list_coreset(const Decision& decision, int64_t block, int64_t experts);

// Every token's k experts within the coreset of its block; a policy says which experts that has.
class CoresetSelector : public Selector {
 public:
  explicit CoresetSelector(const RoutingPolicy& policy)
      : policy_(policy), routing_(policy), ballot_(policy) {}

  void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
              Decision& decision) const final;
  int64_t max_slots(int64_t tokens, int64_t sequence_length) const final;

 protected:
  // Marks the experts of a block, on any thread, inside an ArenaScope.
  virtual void mark(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
                    std::span<uint8_t> coreset) const = 0;

  const RoutingPolicy policy_;
  const TokenRouting routing_;
  const Ballot ballot_;
};

// Refuses keys of [block] that cannot be.
Status check_block(const RoutingPolicy& policy);

}  // namespace unmask
