#include <string>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "unmask/base/parallel.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/model_output.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/measure_experts.h"
#include "unmask/model/published_models.h"

namespace unmask::cli {
namespace {

struct Options {
  std::string shape = "llada2-mini";
  WeightFormat format = WeightFormat::int8;
  int32_t group = -1;
  int32_t tokens = 32;
  int32_t unique = 69;
  bool json = false;
};

Status bench_moe(const Options& options) {
  UNMASK_TRY(const ModelConfig shape, published_model(options.shape));
  ExpertsBenchmark benchmark = {.hidden = shape.hidden,
                                .ffn = shape.expert_ffn,
                                .experts = shape.experts,
                                .per_token = shape.routing.experts_per_token};
  benchmark.format = options.format;
  benchmark.group = options.group < 0 ? default_group(options.format) : options.group;
  benchmark.tokens = options.tokens;
  benchmark.unique = options.unique;
  const bool scaled = options.format != WeightFormat::bf16;
  if (scaled ? benchmark.group < 32 || benchmark.group % 32 != 0 : benchmark.group != 0) {
    return usage_error("group: expected a multiple of 32 (bf16: none), found {}", benchmark.group);
  }
  UNMASK_TRY(const ExpertsMeasurement m, measure_experts(benchmark));
  const double ms = 1e3 * m.seconds, floor_ms = 1e3 * m.floor_seconds();
  if (options.json) {
    const nlohmann::json result = {{"shape", options.shape},
                                   {"format", name_of(options.format)},
                                   {"group", benchmark.group},
                                   {"tokens", options.tokens},
                                   {"unique", options.unique},
                                   {"isa", name_of(isa_in_use())},
                                   {"threads", thread_count()},
                                   {"ms", ms},
                                   {"floor_ms", floor_ms},
                                   {"to_floor", ms / floor_ms},
                                   {"bytes", m.bytes},
                                   {"flops", m.operations},
                                   {"read_bandwidth", m.read_bytes_per_second},
                                   {"peak", m.peak}};
    fmt::print("{}\n", result.dump(2));
    return {};
  }
  fmt::print("{} {}, {} tokens, {} experts: {:.2f} ms, {:.2f} x the floor of {:.2f} ms\n",
             options.shape, name_of(options.format), options.tokens, options.unique, ms,
             ms / floor_ms, floor_ms);
  fmt::print("  {:.1f} MB at {:.1f} GB/s: {:.2f} ms; {:.2f} GOP at {:.0f} GOP/s: {:.2f} ms\n",
             m.bytes / 1e6, m.read_bytes_per_second / 1e9, 1e3 * m.bytes / m.read_bytes_per_second,
             m.operations / 1e9, m.peak / 1e9, 1e3 * m.operations / m.peak);
  return {};
}

}  // namespace

void add_bench(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand("bench", "Measures kernels against their floor");
  command->require_subcommand(1);
  CLI::App* moe = command->add_subcommand(
      "moe",
      "Routed experts of one layer with packed weights, against the larger of what reading "
      "them and what computing with them takes on this machine, measured in turns");
  auto options = std::make_shared<Options>();
  moe->add_option("--shape", options->shape, "llada2-mini, llada2-flash or llada-moe")
      ->capture_default_str();
  moe->add_option("--format", options->format, "bf16, int8 or int4")
      ->transform(CLI::CheckedTransformer(weight_formats()))
      ->default_str("int8");
  moe->add_option("--group", options->group,
                  "Weights that share a scale, a multiple of 32 (int8: 128, int4: 64)");
  moe->add_option("--tokens", options->tokens, "Tokens of the block")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  moe->add_option("--unique", options->unique, "Experts that the block's tokens choose together")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  moe->add_flag("--json", options->json, "Machine-readable output");
  moe->callback([&run, options] { run = [options] { return bench_moe(*options); }; });
}

}  // namespace unmask::cli
