#include "unmask/routing/coreset.h"

#include <limits>
#include <numeric>

#include "unmask/kernels/softmax.h"
#include "unmask/kernels/top_k.h"
#include "unmask/routing/selection_scores.h"

namespace unmask {
namespace {

RoutingPolicy without_groups(RoutingPolicy policy) {
  policy.groups.reset();
  return policy;
}

// Gives out experts by descending votes, equal ones by index. A coreset takes few of many, so a
// heap beats sorting all.
class Ranking {
 public:
  explicit Ranking(std::span<const double> votes)
      : votes_(votes), heap_(take_scratch<int32_t>(std::ssize(votes))) {
    std::iota(heap_.begin(), heap_.end(), 0);
    std::make_heap(heap_.begin(), heap_.end(), order());
  }
  int32_t next() {
    std::pop_heap(heap_.begin(), heap_.end(), order());
    const int32_t best = heap_.back();
    heap_ = heap_.first(heap_.size() - 1);
    return best;
  }

 private:
  struct Worse {
    std::span<const double> votes;
    bool operator()(int32_t a, int32_t b) const {
      return votes[a] != votes[b] ? votes[a] < votes[b] : a > b;
    }
  };
  Worse order() const { return {votes_}; }
  std::span<const double> votes_;
  std::span<int32_t> heap_;
};

}  // namespace

Ballot::Ballot(const RoutingPolicy& policy)
    : routing_(without_groups(policy)), weights_(policy.weights) {}

void Ballot::count_scores(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
                          std::span<double> votes) const {
  std::fill(votes.begin(), votes.end(), 0.0);
  ArenaScope scope(thread_scratch());
  const auto scores = take_scratch<float>(logits.cols);
  const auto best = take_scratch<int32_t>(routing_.k());
  for (int32_t t = block.begin; t < block.end; ++t) {
    if (context.is_padding(t)) continue;
    const auto row = row_of(logits, t);
    selection_scores(weights_, row, context.expert_bias, scores);
    top_k(context.expert_bias.empty() ? row : scores, best);  // as TokenRouting::choose
    if (weights_ != RoutingPolicy::Weights::sigmoid) softmax_row(scores, scores);
    for (const int32_t e : best) votes[e] += static_cast<double>(std::max(scores[e], 0.0f));
  }
}

void Ballot::count_weights(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
                           std::span<double> votes) const {
  std::fill(votes.begin(), votes.end(), 0.0);
  ArenaScope scope(thread_scratch());
  const auto best = take_scratch<int32_t>(routing_.k());
  const auto z = take_scratch<float>(routing_.k()), w = take_scratch<float>(routing_.k());
  for (int32_t t = block.begin; t < block.end; ++t) {
    if (context.is_padding(t)) continue;
    routing_.choose(row_of(logits, t), context.expert_bias, best);
    for (size_t i = 0; i < best.size(); ++i) z[i] = logits(t, best[i]);
    routing_.weighting().forward(z, row_of(logits, t), w);
    for (size_t i = 0; i < best.size(); ++i) votes[best[i]] += static_cast<double>(w[i]);
  }
}

void Ballot::find_largest(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
                          std::span<double> largest) const {
  std::fill(largest.begin(), largest.end(), -std::numeric_limits<double>::infinity());
  ArenaScope scope(thread_scratch());
  const auto scores = take_scratch<float>(logits.cols);
  for (int32_t t = block.begin; t < block.end; ++t) {
    if (context.is_padding(t)) continue;
    selection_scores(weights_, row_of(logits, t), context.expert_bias, scores);
    if (weights_ != RoutingPolicy::Weights::sigmoid) softmax_row(scores, scores);
    for (int64_t e = 0; e < logits.cols; ++e) {
      largest[e] = std::max(largest[e], static_cast<double>(scores[e]));
    }
  }
}

void Ballot::mark_best(ConstMatrix logits, const RouteContext& context, const RowBlock& block,
                       int32_t k, std::span<uint8_t> coreset) const {
  ArenaScope scope(thread_scratch());
  const auto best = take_scratch<int32_t>(k);
  for (int32_t t = block.begin; t < block.end; ++t) {
    if (context.is_padding(t)) continue;
    routing_.choose(row_of(logits, t), context.expert_bias, best);
    for (const int32_t e : best) coreset[e] = 1;
  }
}

void mark_by_share(std::span<const double> votes, double p, int32_t least,
                   std::span<uint8_t> coreset) {
  ArenaScope scope(thread_scratch());
  Ranking ranking(votes);
  const double all = std::accumulate(votes.begin(), votes.end(), 0.0);
  double sum = 0;
  for (int32_t size = 0; size < std::ssize(votes); ++size) {
    const int32_t expert = ranking.next();
    // Behind the last vote a longer prefix adds nothing.
    if (size >= least && (sum > p * all || votes[expert] == 0)) return;
    coreset[expert] = 1;
    sum += votes[expert];
  }
}

void mark_by_size(std::span<const double> votes, int32_t size, std::span<uint8_t> coreset) {
  ArenaScope scope(thread_scratch());
  Ranking ranking(votes);
  for (auto marked = std::count(coreset.begin(), coreset.end(), uint8_t{1}); marked < size;) {
    uint8_t& mark = coreset[ranking.next()];
    marked += mark == 0;
    mark = 1;
  }
}

int32_t coreset_least(const RoutingPolicy::Block& block, int32_t k, int32_t experts) {
  return std::min(experts, std::max(block.coreset_min, k));
}

std::span<const int32_t> list_coreset(const Decision& decision, int64_t block, int64_t experts) {
  const auto list = take_scratch<int32_t>(decision.coreset_size[block]);
  const auto coreset = decision.coreset_of(block, experts);
  int64_t count = 0;
  for (int32_t e = 0; e < experts; ++e) {
    if (coreset[e]) list[count++] = e;
  }
  return list;
}

void CoresetSelector::select(ConstMatrix logits, const RouteContext& context,
                             Assignment& assignment, Decision& decision) const {
  choose_coresets(policy_, logits, context, decision, [&](const RowBlock& block, auto coreset) {
    ArenaScope block_scope(thread_scratch());
    mark(logits, context, block, coreset);
  });
  ArenaScope scope(thread_scratch());
  const auto choices = routing_.take_choices(context, logits.rows);
  parallel_for(std::ssize(decision.blocks), [&](int64_t b) {
    ArenaScope block_scope(thread_scratch());
    const auto coreset = list_coreset(decision, b, logits.cols);
    for (int32_t t = decision.blocks[b].begin; t < decision.blocks[b].end; ++t) {
      if (context.is_padding(t)) continue;
      routing_.choose_within(row_of(logits, t), context.expert_bias, coreset, choices.of(t));
    }
  });
  routing_.assign(logits, context, choices, assignment, decision);
}

int64_t CoresetSelector::max_slots(int64_t tokens, int64_t) const { return tokens * routing_.k(); }

Status check_block(const RoutingPolicy& policy) {
  const RoutingPolicy::Block& block = policy.block;
  if (block.size < 1) {
    return usage_error("routing.block.size: expected at least 1, found {}", block.size);
  }
  if (!(block.p >= 0 && block.p <= 1)) {
    return usage_error("routing.block.p: expected 0 to 1 (share of the votes), found {}", block.p);
  }
  if (block.coreset_min < 1) {
    return usage_error("routing.block.coreset_min: expected at least 1, found {}",
                       block.coreset_min);
  }
  return {};
}

}  // namespace unmask
