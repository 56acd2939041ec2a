#include "unmask/diffusion/routing_summary.h"

#include <algorithm>
#include <numeric>

namespace unmask {

double RoutingSummary::max_over_mean_load() const {
  const auto sum = std::accumulate(load.begin(), load.end(), int64_t{0});
  if (sum == 0) return 0.0;
  const auto most = *std::max_element(load.begin(), load.end());
  return static_cast<double>(most) * static_cast<double>(load.size()) / static_cast<double>(sum);
}

RoutingCollector::RoutingCollector(const ModelConfig& config) : policy_(config.routing) {
  for (int32_t i = 0; i < config.layers; ++i) {
    if (config.is_dense(i)) continue;
    RoutingSummary layer;
    layer.layer = i;
    layer.load.assign(static_cast<size_t>(config.experts), 0);
    layers_.push_back(std::move(layer));
  }
}

void RoutingCollector::add(const RouteContext& context, const Tape& tape) {
  for (RoutingSummary& layer : layers_) {
    const Routing& routing = tape.layers[layer.layer].routing;
    RoutingStatistics& s = statistics_;
    measure_routing(policy_, routing.logits, routing.decision, routing.assignment, context, s);
    for (size_t e = 0; e < layer.load.size(); ++e) layer.load[e] += s.load[e];

    const auto added = static_cast<double>(routing.assignment.tokens);
    const bool first = layer.tokens == 0;
    layer.tokens += routing.assignment.tokens;
    const double share = added / static_cast<double>(layer.tokens);
    const auto average = [share](double& mean, double value) { mean += share * (value - mean); };
    average(layer.experts_per_token, s.experts_per_token.mean);
    average(layer.share_without_expert, s.share_without_expert);
    average(layer.share_dropped, s.share_dropped);
    average(layer.unique_experts_per_block, s.unique_experts_per_block);
    average(layer.router_entropy, s.router_entropy);
    layer.experts_per_token_min =
        first ? s.experts_per_token.min
              : std::min(layer.experts_per_token_min, s.experts_per_token.min);
    layer.experts_per_token_max = std::max(layer.experts_per_token_max, s.experts_per_token.max);
  }
}

}  // namespace unmask
