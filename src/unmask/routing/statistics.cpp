#include "unmask/routing/statistics.h"

#include <algorithm>
#include <cmath>

#include "unmask/base/parallel.h"
#include "unmask/kernels/softmax.h"
#include "unmask/routing/blocks.h"
#include "unmask/routing/pieces.h"
#include "unmask/routing/scratch.h"

namespace unmask {
namespace {

// Mean and deviation of values that come one by one (Welford).
class Accumulator {
 public:
  void add(double value) {
    if (count_ == 0) spread_.min = spread_.max = value;
    spread_.min = std::min(spread_.min, value);
    spread_.max = std::max(spread_.max, value);
    ++count_;
    const double before = value - spread_.mean;
    spread_.mean += before / static_cast<double>(count_);
    squares_ += before * (value - spread_.mean);
  }
  Spread spread() const {
    Spread result = spread_;
    if (count_ > 0) result.std = std::sqrt(squares_ / static_cast<double>(count_));
    return result;
  }

 private:
  Spread spread_;
  double squares_ = 0;
  int64_t count_ = 0;
};

double ratio(double part, double whole) { return whole == 0 ? 0 : part / whole; }

void measure_experts(const Assignment& assignment, RoutingStatistics& statistics) {
  Accumulator loads;
  statistics.load.resize(assignment.experts);
  statistics.unique_experts = assignment.used_experts();
  for (int32_t e = 0; e < assignment.experts; ++e) {
    statistics.load[e] = assignment.load(e);
    loads.add(assignment.load(e));
  }
  statistics.tokens_per_expert = loads.spread();
  const auto& [mean, min, max, std] = statistics.tokens_per_expert;
  statistics.load_variation = ratio(std, mean);
  statistics.max_over_mean_load = ratio(max, mean);
}

void measure_tokens(const Decision& decision, const Assignment& assignment,
                    const RouteContext& context, RoutingStatistics& statistics) {
  Accumulator experts;
  int64_t tokens = 0, without = 0;
  for (int32_t t = 0; t < assignment.tokens; ++t) {
    if (context.is_padding(t)) continue;
    const auto count = std::ssize(assignment.slots_of(t));
    ++tokens;
    without += count == 0;
    experts.add(static_cast<double>(count));
  }
  statistics.experts_per_token = experts.spread();
  statistics.share_without_expert =
      ratio(static_cast<double>(without), static_cast<double>(tokens));
  const auto dropped = static_cast<double>(decision.dropped_expert.size());
  statistics.share_dropped = ratio(dropped, dropped + static_cast<double>(assignment.slots()));
}

void measure_blocks(const Decision& decision, RoutingStatistics& statistics) {
  statistics.coreset_size.reset();
  Accumulator sizes;
  for (const int32_t size : decision.coreset_size) {
    if (size > 0) sizes.add(size);  // none: a block of padding
  }
  if (!decision.coreset_size.empty()) statistics.coreset_size = sizes.spread();
}

// Mean over blocks with a token in them of the experts that compute a token of the block.
double unique_experts_per_block(int32_t block_size, const Assignment& assignment,
                                const RouteContext& context) {
  ArenaScope scope(thread_scratch());
  const auto block_of = take_scratch<int32_t>(assignment.tokens);
  int32_t blocks = 0;
  int64_t filled = 0;
  for_each_block(context, block_size, [&](const RowBlock& block) {
    bool routed = false;
    for (int32_t t = block.begin; t < block.end; ++t) {
      block_of[t] = blocks;
      routed |= !context.is_padding(t);
    }
    ++blocks;
    filled += routed;
  });
  // The tokens of an expert are ascending, and so are their blocks.
  int64_t pairs = 0;
  for (int32_t e = 0; e < assignment.experts; ++e) {
    int32_t last = -1;
    for (const int32_t t : assignment.tokens_of(e)) {
      pairs += block_of[t] != last;
      last = block_of[t];
    }
  }
  return ratio(static_cast<double>(pairs), static_cast<double>(filled));
}

// Mean of -sum p log p = logsumexp - sum p l.
double router_entropy(ConstMatrix logits, const RouteContext& context) {
  struct Sum {
    double entropy;
    int64_t tokens;
  };
  const int64_t grain = rows_at_once(logits.cols);
  ArenaScope scope(thread_scratch());
  const auto sums = take_scratch<Sum>((logits.rows + grain - 1) / grain);
  parallel_pieces(logits.rows, grain, [&](int64_t begin, int64_t end) {
    ArenaScope piece_scope(thread_scratch());
    const auto p = take_scratch<float>(logits.cols);
    Sum sum = {0, 0};
    for (int64_t t = begin; t < end; ++t) {
      if (context.is_padding(t)) continue;
      const std::span row(logits.row(t), static_cast<size_t>(logits.cols));
      const float log_sum_exp = softmax_row(row, p);
      sum.entropy += static_cast<double>(log_sum_exp) - static_cast<double>(dot_row(p, row));
      ++sum.tokens;
    }
    sums[begin / grain] = sum;
  });
  Sum total = {0, 0};
  for (const Sum& sum : sums) {
    total.entropy += sum.entropy;
    total.tokens += sum.tokens;
  }
  return ratio(total.entropy, static_cast<double>(total.tokens));
}

nlohmann::json to_json(const Spread& spread) {
  return {{"mean", spread.mean}, {"min", spread.min}, {"max", spread.max}, {"std", spread.std}};
}

}  // namespace

void measure_routing(const RoutingPolicy& policy, ConstMatrix logits, const Decision& decision,
                     const Assignment& assignment, const RouteContext& context,
                     RoutingStatistics& statistics) {
  measure_experts(assignment, statistics);
  measure_tokens(decision, assignment, context, statistics);
  measure_blocks(decision, statistics);
  statistics.k = decision.k;
  if (decision.k.empty()) statistics.k.assign(context.sequences(), policy.experts_per_token);
  statistics.unique_experts_per_block =
      unique_experts_per_block(policy.block.size, assignment, context);
  statistics.router_entropy = router_entropy(logits, context);
  statistics.expert_bias.reset();
  if (!context.expert_bias.empty()) {
    Accumulator bias;
    for (const float value : context.expert_bias) bias.add(value);
    statistics.expert_bias = bias.spread();
  }
}

nlohmann::json to_json(const RoutingStatistics& statistics) {
  nlohmann::json json = {
      {"load", statistics.load},
      {"tokens_per_expert", to_json(statistics.tokens_per_expert)},
      {"load_variation", statistics.load_variation},
      {"max_over_mean_load", statistics.max_over_mean_load},
      {"experts_per_token", to_json(statistics.experts_per_token)},
      {"share_without_expert", statistics.share_without_expert},
      {"share_dropped", statistics.share_dropped},
      {"k", statistics.k},
      {"unique_experts_per_block", statistics.unique_experts_per_block},
      {"unique_experts", statistics.unique_experts},
      {"router_entropy", statistics.router_entropy},
  };
  if (statistics.coreset_size) json["coreset_size"] = to_json(*statistics.coreset_size);
  if (statistics.expert_bias) json["expert_bias"] = to_json(*statistics.expert_bias);
  return json;
}

}  // namespace unmask
