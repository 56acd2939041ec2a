#include "unmask/train/flops.h"

#include <algorithm>

#include "unmask/routing/budget.h"
#include "unmask/routing/capacity.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

double head_parameters(const ModelConfig& c) {
  return static_cast<double>(c.hidden) * c.vocab_size;
}

double parameters_with(const ModelConfig& c, double experts_per_token) {
  const double hidden = c.hidden, heads = c.heads, kv_heads = c.kv_heads, d = c.head_dim;
  const double attention = hidden * (heads + 2 * kv_heads) * d + heads * d * hidden;
  const double dense = 3 * hidden * c.dense_ffn;
  const double moe =
      hidden * c.experts + 3 * hidden * (experts_per_token * c.expert_ffn + c.shared_ffn);
  return c.layers * attention + c.dense_layers * dense + (c.layers - c.dense_layers) * moe +
         head_parameters(c);
}

double flops_with(const ModelConfig& c, int32_t sequence_length, double experts_per_token) {
  const double once = parameters_with(c, experts_per_token), head = head_parameters(c);
  double passes = once, keys = sequence_length;
  if (c.attention_block > 0) {
    // Either half sees (S + B) / 2 keys on average.
    passes = 2 * (once - head) + head;
    keys += std::min(c.attention_block, sequence_length);
  }
  return 6 * passes + 12.0 * c.layers * keys * c.heads * c.head_dim;
}

}  // namespace

double experts_per_token_given(const RoutingPolicy& policy, int32_t experts,
                               int32_t sequence_length, int32_t k) {
  using Group = RoutingPolicy::Group;
  if (chooser_of(policy) == Chooser::token || policy.selection == Group::batch) return k;
  const bool coreset = policy.policy == RoutingPolicy::Selection::coreset_expert_choice;
  const bool in_blocks = coreset || policy.selection == Group::block;
  const int32_t tokens = in_blocks ? std::min(sequence_length, policy.block.size) : sequence_length;
  const int32_t choosing =
      coreset ? std::min(experts, std::max(policy.block.coreset_min, k)) : experts;
  return static_cast<double>(expert_capacity(tokens, k, choosing)) * choosing / tokens;
}

double mean_experts_per_token(const ModelConfig& config, int32_t sequence_length) {
  const RoutingPolicy& routing = config.routing;
  const auto given = [&](int32_t k) {
    return experts_per_token_given(routing, config.experts, sequence_length, k);
  };
  return varies(routing) ? mean_cost(*routing.capacity, given) : given(routing.experts_per_token);
}

double active_parameters(const ModelConfig& config, int32_t sequence_length) {
  return parameters_with(config, mean_experts_per_token(config, sequence_length));
}

double flops_per_token(const ModelConfig& config, int32_t sequence_length) {
  return flops_with(config, sequence_length, mean_experts_per_token(config, sequence_length));
}

double flops_per_token_given(const ModelConfig& config, int32_t sequence_length, int32_t k) {
  return flops_with(config, sequence_length,
                    experts_per_token_given(config.routing, config.experts, sequence_length, k));
}

}  // namespace unmask
