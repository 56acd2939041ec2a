#include "unmask/experiment/run_measures.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "unmask/experiment/expert_parallel.h"
#include "unmask/report/summary.h"

namespace unmask {
namespace {

using nlohmann::json;

constexpr int32_t kRanks[] = {8, 64};

void measure_validation(const RunLog& run, Measured& measured) {
  std::map<std::string, std::vector<double>> columns;
  std::vector<double> seconds;
  for (const ValidationEvent& event : run.validation) {
    columns["step"].push_back(static_cast<double>(event.step));
    columns["tokens"].push_back(static_cast<double>(event.tokens));
    columns["loss"].push_back(event.loss);
    seconds.push_back(event.seconds);
    const std::vector<double> bins = merge_bins(event, kMaskBins);
    for (int32_t i = 0; i < kMaskBins; ++i) {
      columns[fmt::format("bin_{}", i + 1)].push_back(bins[i]);
    }
  }
  for (const auto& [name, column] : columns) measured.curves["validation"][name] = column;
  measured.timed_curves["validation"]["seconds"] = seconds;
  if (run.validation.empty()) return;
  for (const auto& [name, column] : columns) {
    if (name != "step" && name != "tokens") measured.values[name] = column.back();
  }
}

// Of one layer, averaged over the logged batches.
struct LayerLoad {
  std::vector<double> tokens;  // [experts]
  void add(const LayerRouting& layer) {
    tokens.resize(layer.tokens_per_expert.size());
    for (size_t e = 0; e < tokens.size(); ++e) {
      tokens[e] += static_cast<double>(layer.tokens_per_expert[e]);
    }
  }
};

double mean_of(const std::vector<RoutingEvent>& events, double LayerRouting::*number) {
  double sum = 0;
  for (const RoutingEvent& event : events) sum += mean_over_layers(event, number);
  return sum / static_cast<double>(events.size());
}

// Layers wait for each other, so their times add up: the harmonic mean of their throughputs.
template <class Layers>
double throughput(const Layers& layers, int32_t ranks) {
  double time = 0;
  for (const auto& layer : layers) time += 1 / expert_parallel_throughput(layer, ranks);
  return static_cast<double>(layers.size()) / time;
}

void measure_load(const RunLog& run, Measured& measured) {
  std::map<int64_t, LayerLoad> loads;
  std::vector<std::vector<double>> each_batch;
  for (const RoutingEvent& event : run.routing) {
    for (const LayerRouting& layer : event.layers) {
      loads[layer.layer].add(layer);
      each_batch.emplace_back(layer.tokens_per_expert.begin(), layer.tokens_per_expert.end());
    }
  }
  std::vector<std::vector<double>> layers;
  LoadImbalance mean{.max_over_mean = 0, .variation = 0};
  for (auto& [layer, load] : loads) {
    const LoadImbalance imbalance = load_imbalance(load.tokens);
    mean.max_over_mean += imbalance.max_over_mean / static_cast<double>(loads.size());
    mean.variation += imbalance.variation / static_cast<double>(loads.size());
    layers.push_back(std::move(load.tokens));
  }
  measured.values["load_max_over_mean"] = mean.max_over_mean;
  measured.values["load_variation"] = mean.variation;
  for (const int32_t ranks : kRanks) {
    measured.values[fmt::format("throughput_{}", ranks)] = throughput(layers, ranks);
    measured.values[fmt::format("throughput_{}_batchwise", ranks)] = throughput(each_batch, ranks);
  }
}

void measure_routing_events(const RunLog& run, Measured& measured) {
  const auto put = [&](const char* name, double LayerRouting::*number) {
    const double mean = mean_of(run.routing, number);
    if (std::isfinite(mean)) measured.values[name] = mean;
  };
  put("batch_max_over_mean", &LayerRouting::max_over_mean_load);
  put("dropped_share", &LayerRouting::dropped_share);
  put("unrouted_share", &LayerRouting::unrouted_share);
  put("experts_per_token", &LayerRouting::experts_per_token_mean);
  put("unique_experts_per_block", &LayerRouting::unique_experts_per_block);
  measure_load(run, measured);
}

}  // namespace

Measured measure_run(const RunLog& run) {
  Measured measured;
  const RunSummary summary = summarize(run);
  measured.values["parameters"] = run.config.parameters;
  measured.values["active_parameters"] = run.config.active_parameters;
  measured.values["steps"] = summary.steps;
  measured.values["tokens"] = summary.tokens;
  measured.timed_values["seconds"] = summary.seconds;
  measured.timed_values["tokens_per_second"] = summary.tokens_per_second;
  measure_validation(run, measured);
  if (!run.routing.empty()) measure_routing_events(run, measured);
  return measured;
}

}  // namespace unmask
