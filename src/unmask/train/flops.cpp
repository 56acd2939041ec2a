#include "unmask/train/flops.h"

#include <algorithm>
#include <cmath>

#include "unmask/routing/registry.h"

namespace unmask {

double mean_experts_per_token(const ModelConfig& config, int32_t sequence_length) {
  const RoutingPolicy& routing = config.routing;
  double k = routing.experts_per_token;
  if (chooser_of(routing) == Chooser::token) return k;
  if (routing.capacity) k = 0.5 * (routing.capacity->min + routing.capacity->max);
  const double capacity = std::max(1.0, std::floor(sequence_length * k / config.experts));
  return capacity * config.experts / sequence_length;
}

double active_parameters(const ModelConfig& c, int32_t sequence_length) {
  const double hidden = c.hidden, heads = c.heads, kv_heads = c.kv_heads, d = c.head_dim;
  const double attention = hidden * (heads + 2 * kv_heads) * d + heads * d * hidden;
  const double dense = 3 * hidden * c.dense_ffn;
  const double moe =
      hidden * c.experts +
      3 * hidden * (mean_experts_per_token(c, sequence_length) * c.expert_ffn + c.shared_ffn);
  return c.layers * attention + c.dense_layers * dense + (c.layers - c.dense_layers) * moe +
         hidden * c.vocab_size;
}

double flops_per_token(const ModelConfig& c, int32_t sequence_length) {
  return 6 * active_parameters(c, sequence_length) +
         12.0 * c.layers * sequence_length * c.heads * c.head_dim;
}

}  // namespace unmask
