#include "unmask/train/run_events.h"

#include <fstream>
#include <string>
#include <unistd.h>

#include "unmask/base/json_text.h"
#include "unmask/base/memory.h"
#include "unmask/base/parallel.h"
#include "unmask/base/version.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/routing/statistics.h"
#include "unmask/train/flops.h"

namespace unmask {
namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

LayerRouting layer_routing(int64_t layer, const RoutingStatistics& s) {
  return {.layer = layer,
          .tokens_per_expert = {s.load.begin(), s.load.end()},
          .experts_per_token_mean = s.experts_per_token.mean,
          .experts_per_token_min = s.experts_per_token.min,
          .experts_per_token_max = s.experts_per_token.max,
          .experts_per_token_std = s.experts_per_token.std,
          .max_over_mean_load = s.max_over_mean_load,
          .unique_experts = static_cast<double>(s.unique_experts),
          .unique_experts_per_block = s.unique_experts_per_block,
          .coreset_size = s.coreset_size ? s.coreset_size->mean : kNotMeasured,
          .entropy = s.router_entropy,
          .dropped_share = s.share_dropped,
          .unrouted_share = s.share_without_expert};
}

}  // namespace

Machine this_machine() {
  return {.processor = processor_name(),
          .isa = std::string(name_of(isa_in_use())),
          .threads = thread_count(),
          .memory_bytes = physical_memory()};
}

ConfigEvent config_event(const TrainConfig& config, const nlohmann::json& document) {
  const int32_t length = config.data.sequence_length;
  return {.version = std::string(version()),
          .configuration = to_text(document),
          .parameters = ParameterLayout(config.model).parameters(),
          .active_parameters = static_cast<int64_t>(active_parameters(config.model, length)),
          .flops_per_token = flops_per_token(config.model, length),
          .machine = this_machine()};
}

TrainEvent train_event(const TrainingState& state, const StepReport& report,
                       const TrainConfig& config, double tokens_per_second) {
  return {.step = state.step,
          .tokens = state.tokens,
          .seconds = state.seconds,
          .loss = report.loss.cross_entropy,
          .confidence_loss = report.loss.confidence,
          .switch_loss = report.balance.switch_loss,
          .sequence_loss = report.balance.sequence_loss,
          .z_loss = report.balance.z_loss,
          .gradient_norm = report.gradient_norm,
          .learning_rate = report.learning_rate,
          .tokens_per_second = tokens_per_second,
          .model_flops_per_second =
              tokens_per_second * flops_per_token(config.model, config.data.sequence_length),
          .memory_bytes = resident_bytes()};
}

ValidationEvent validation_event(const TrainingState& state, const Evaluation& evaluation) {
  ValidationEvent event;
  event.step = state.step;
  event.tokens = state.tokens;
  event.seconds = state.seconds;
  event.loss = evaluation.stratified.loss();
  event.perplexity = evaluation.stratified.perplexity();
  for (const MeanLoss& bin : evaluation.stratified.bins) {
    event.bin_loss.push_back(bin.count > 0 ? bin.mean() : kNotMeasured);
    event.bin_count.push_back(bin.count);
  }
  if (evaluation.levels) {
    for (size_t i = 0; i < evaluation.levels->levels.size(); ++i) {
      event.level_mask_ratio.push_back(evaluation.levels->levels[i]);
      event.level_loss.push_back(evaluation.levels->level_loss[i].mean());
    }
  }
  return event;
}

RoutingEvent routing_event(const TrainingState& state, Learner& learner) {
  RoutingEvent event;
  event.step = state.step;
  event.tokens = state.tokens;
  event.seconds = state.seconds;
  const Model& model = learner.model();
  const ModelConfig& config = model.config();
  const Batch batch = learner.last_batch().forward.batch();
  RoutingStatistics statistics;
  for (int32_t i = config.dense_layers; i < config.layers; ++i) {
    const Routing& routing = learner.tape().layers[i].routing;
    RouteContext context = batch.route;
    if (const int bias = model.layout().layers[i].expert_bias; bias >= 0) {
      const Matrix row = model.parameters()[bias];
      context.expert_bias = {row.data, static_cast<size_t>(row.cols)};
    }
    measure_routing(config.routing, routing.logits, routing.decision, routing.assignment, context,
                    statistics);
    event.layers.push_back(layer_routing(i, statistics));
  }
  for (size_t b = 0; b < statistics.k.size(); ++b) {
    event.mask_ratio.push_back(batch.route.mask_ratio[b]);
    event.experts_per_token.push_back(statistics.k[b]);
  }
  return event;
}

}  // namespace unmask
