#include "unmask/train/plan.h"

#include <fmt/format.h>

#include "unmask/base/memory.h"
#include "unmask/base/parallel.h"
#include "unmask/base/readable.h"
#include "unmask/model/parameters.h"
#include "unmask/model/rounded_experts.h"
#include "unmask/routing/token_routing.h"
#include "unmask/train/flops.h"

namespace unmask {
namespace {

// What kernels and routers keep for each thread (docs/memory.md): bounded, whatever the model.
constexpr int64_t kKernelBytesPerThread = int64_t{24} << 20;

}  // namespace

Result<MemoryPlan> plan_memory(const TrainConfig& config) {
  const ModelConfig& model = config.model;
  const bool doubled = config.objective.kind == ObjectiveOptions::Kind::block;
  const int64_t sequences = int64_t{config.batch} * (doubled ? 2 : 1);
  const int64_t tokens = sequences * config.data.sequence_length;
  int64_t slots = 0;
  UNMASK_TRY_STATUS(check_learns(model.routing));
  if (model.dense_layers < model.layers) {
    UNMASK_TRY(const auto router, make_router(model));
    slots = router->max_slots(tokens, config.data.sequence_length);
  }
  const TapePlan tape = plan_tape(model, config.options, Tape::Mode::training, tokens, slots);

  MemoryPlan plan;
  const ParameterLayout layout(model);
  plan.parameters = layout.parameters();
  plan.weights = plan.gradients = 4 * layout.size;
  if (config.options.precision == Precision::bf16) plan.weights += rounded_experts_bytes(layout);
  plan.moments = 8 * layout.size;
  plan.tape = static_cast<int64_t>(tape.arena);
  plan.scratch = static_cast<int64_t>(tape.scratch) + kKernelBytesPerThread * thread_count();
  return plan;
}

Status check_memory(const MemoryPlan& plan) {
  const int64_t memory = physical_memory();
  if (plan.total() <= memory) return {};
  return usage_error(
      "the run would hold {} in memory, this machine has {} (train --plan says what for): a "
      "smaller training.batch with more training.accumulation takes less",
      readable_bytes(plan.total()), readable_bytes(memory));
}

std::string describe(const MemoryPlan& plan, const TrainConfig& config) {
  const int32_t length = config.data.sequence_length;
  std::string text;
  const auto line = [&](std::string_view name, std::string_view value) {
    text += fmt::format("{:<22}{:>14}\n", name, value);
  };
  const auto mebibytes = [](int64_t bytes) {
    return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
  };
  const double flops = flops_per_token(config.model, length);
  line("parameters", readable_integer(plan.parameters));
  line("active per token", readable_count(active_parameters(config.model, length)));
  line("FLOPs per token", readable_count(flops));
  line("tokens per step", readable_integer(config.step_tokens()));
  if (config.epochs > 0) {  // how many steps that is, the data say
    line("epochs", fmt::format("{}", config.epochs));
  } else {
    line("steps", readable_integer(config.steps));
    line("FLOPs of the run",
         readable_count(flops * static_cast<double>(config.step_tokens() * config.steps)));
  }
  line("weights", mebibytes(plan.weights));
  line("gradients", mebibytes(plan.gradients));
  line("moments", mebibytes(plan.moments));
  line("tape", mebibytes(plan.tape));
  line("scratch", mebibytes(plan.scratch));
  line("peak memory", mebibytes(plan.total()));
  return text;
}

}  // namespace unmask
