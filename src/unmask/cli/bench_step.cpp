#include <algorithm>
#include <memory>
#include <numeric>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/base/json_text.h"
#include "unmask/base/memory.h"
#include "unmask/checkpoint/loaded_model.h"
#include "unmask/checkpoint/model_file.h"
#include "unmask/checkpoint/random_weights.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/cli/bench.h"
#include "unmask/cli/routing_flags.h"
#include "unmask/cli/validators.h"
#include "unmask/diffusion/generation_report.h"
#include "unmask/diffusion/measure_step.h"
#include "unmask/model/published_models.h"
#include "unmask/routing/registry.h"

namespace unmask::cli {
namespace {

struct BenchStepArguments {
  BenchFlags flags;
  std::optional<std::string> model;
  std::optional<int64_t> expert_memory;
  std::optional<int32_t> layers;
  int32_t unique = 0;
  StepBenchmark step;
  RoutingFlags routing;
};

// A random model of a published shape, in memory.
Result<Model> random_model(const BenchStepArguments& a, ModelConfig config) {
  config.max_positions = std::max(config.max_positions, a.step.context + a.flags.tokens);
  UNMASK_TRY_STATUS(a.routing.apply(config));
  if (a.unique != 0 && (a.unique < config.routing.experts_per_token || a.unique > config.experts)) {
    return usage_error("--unique: expected 0 (as routed) or {} to {}, found {}",
                       config.routing.experts_per_token, config.experts, a.unique);
  }
  config.expert_bias = config.expert_bias || a.unique > 0;
  UNMASK_TRY_STATUS(validate(config));
  UNMASK_TRY(const PackedFormat format, packed_format(a.flags.format, a.flags.group));
  UNMASK_TRY(const auto weights, RandomWeights::create(config, format, 1, a.unique));
  return Model::from_weights(config, {.precision = kPackedPrecision}, weights->weights(), weights);
}

double mean_unique(const StepMeasurement& m, const ModelConfig& config) {
  const double sum = std::accumulate(m.unique_experts.begin(), m.unique_experts.end(), 0.0);
  return sum / std::max(1, config.layers - config.dense_layers);
}

void print(const BenchStepArguments& a, const std::string& what, const StepMeasurement& m,
           const Measurement& shown, const ModelConfig& config) {
  const Profile& p = m.parts;
  const double unique = mean_unique(m, config);
  if (a.flags.json) {
    nlohmann::json out = measurement_json(shown);
    out.update({{"what", what},
                {"tokens", a.flags.tokens},
                {"context", a.step.context},
                {"layers", config.layers},
                {"unique", unique},
                {"unique_per_layer", m.unique_experts},
                {"cache_bytes", m.cache_bytes},
                {"peak_memory", peak_memory()},
                {"step_ms",
                 {{"attention", 1e3 * p.attention},
                  {"router", 1e3 * p.router},
                  {"experts", 1e3 * p.experts},
                  {"shared", 1e3 * p.shared},
                  {"head", 1e3 * p.head},
                  {"other", 1e3 * p.other()}}}});
    if (m.experts) out["expert_cache"] = expert_cache_json(*m.experts);
    fmt::print("{}\n", to_text(out, 2));
    return;
  }
  fmt::print("{}, {} tokens behind {}, {:.1f} unique experts: {}", what, a.flags.tokens,
             a.step.context, unique, measurement_text(shown));
  fmt::print(
      "  a step of {} layers, ms: attention {:.2f}, router {:.2f}, experts {:.2f}, shared {:.2f}, "
      "head {:.2f}, other {:.2f}; peak memory {:.2f} GiB\n",
      config.layers, 1e3 * p.attention, 1e3 * p.router, 1e3 * p.experts, 1e3 * p.shared,
      1e3 * p.head, 1e3 * p.other(), static_cast<double>(peak_memory()) / (1 << 30));
  if (m.experts) fmt::print("  {}", expert_cache_text(*m.experts));
}

std::string described(const BenchStepArguments& a, const ModelConfig& config) {
  const std::string model =
      a.model ? *a.model : fmt::format("{} {}", a.flags.shape, name_of(a.flags.format));
  return fmt::format("{} {}", model, name_of(config.routing.policy));
}

Status bench_layer(BenchStepArguments a) {
  UNMASK_TRY(ModelConfig config, published_model(a.flags.shape));
  // Layers enough that none finds its weights in a cache.
  config.layers = a.layers.value_or(4);
  config.dense_layers = 0;
  config.vocab_size = 1024;  // no head is measured
  config.mask_token = config.vocab_size - 1;
  config.end_token = config.pad_token = config.vocab_size - 2;
  config.other_end_tokens.clear();
  config.delete_token = config.insert_token = ModelConfig::kNoToken;
  UNMASK_TRY(Model model, random_model(a, config));
  a.step.tokens = a.flags.tokens;
  a.step.head = false;
  UNMASK_TRY(const StepMeasurement m, measure_step(model, a.step));
  Measurement one = m.step;
  one.seconds /= config.layers;
  one.work = {};
  one.work.add(m.step.work, 1.0 / config.layers);
  print(a, "a layer of " + described(a, model.config()), m, one, model.config());
  return {};
}

Result<Model> model_to_decode(const BenchStepArguments& a) {
  if (a.model) {
    UNMASK_TRY(const std::string model, find_checkpoint(*a.model));
    if (!is_packed(model)) {
      return usage_error("{}: expected a packed model: unmask convert makes one", model);
    }
    return load_model(model,
                      {.adjust = [&](ModelConfig& config) { return a.routing.apply(config); },
                       .expert_memory = a.expert_memory});
  }
  UNMASK_TRY(ModelConfig config, published_model(a.flags.shape));
  if (a.layers) config.layers = *a.layers;
  return random_model(a, config);
}

Status bench_decode(BenchStepArguments a) {
  UNMASK_TRY(Model model, model_to_decode(a));
  a.step.tokens = a.flags.tokens;
  UNMASK_TRY(const StepMeasurement m, measure_step(model, a.step));
  print(a, described(a, model.config()), m, m.step, model.config());
  return {};
}

CLI::App* add_step_command(CLI::App& bench, const char* name, const char* description,
                           BenchStepArguments& a) {
  CLI::App* command = bench.add_subcommand(name, description);
  a.flags.add_to(*command);
  command->add_option("--context", a.step.context, "Positions in the KV cache, whole blocks")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--steps", a.step.steps, "How many are measured")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--layers", a.layers, "Instead of the shape's")->check(CLI::Range(1, 1000));
  command->add_option("--unique", a.unique,
                      "Let a layer's tokens choose among so many experts, as the concentrated "
                      "routing of a trained model does; 0: among all");
  a.routing.add_to(*command);
  return command;
}

}  // namespace

void add_bench_layer(CLI::App& bench, Run& run) {
  const auto a = std::make_shared<BenchStepArguments>();
  CLI::App* command = add_step_command(
      bench, "layer", "A whole layer of a random model: attention, router, experts", *a);
  command->callback([&run, a] { run = [a] { return bench_layer(*a); }; });
}

void add_bench_decode(CLI::App& bench, Run& run) {
  const auto a = std::make_shared<BenchStepArguments>();
  CLI::App* command = add_step_command(
      bench, "decode",
      "A denoising step of a block: a packed model, or a random one of a shape, in memory", *a);
  CLI::Option* const model =
      command->add_option("--model", a->model, "A packed model, instead of a shape");
  for (const char* of_shape : {"--shape", "--format", "--group", "--layers", "--unique"}) {
    model->excludes(of_shape);
  }
  as_size(
      command->add_option("--expert-memory", a->expert_memory, "Of --model, as in generate: 2GiB"))
      ->needs("--model");
  command->callback([&run, a] { run = [a] { return bench_decode(*a); }; });
}

}  // namespace unmask::cli
