#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/cli/bench.h"
#include "unmask/kernels/measure_experts.h"
#include "unmask/model/published_models.h"

namespace unmask::cli {
namespace {

struct BenchMoeArguments {
  BenchFlags flags;
  int32_t unique = 69;
};

Status bench_moe(const BenchMoeArguments& a) {
  const BenchFlags& flags = a.flags;
  UNMASK_TRY(const ModelConfig shape, published_model(flags.shape));
  UNMASK_TRY(const PackedFormat format, packed_format(flags.format, flags.group));
  UNMASK_TRY(const Measurement m, measure_experts({.hidden = shape.hidden,
                                                   .ffn = shape.expert_ffn,
                                                   .experts = shape.experts,
                                                   .per_token = shape.routing.experts_per_token,
                                                   .format = format.experts.format,
                                                   .group = format.experts.group,
                                                   .tokens = flags.tokens,
                                                   .unique = a.unique}));
  if (flags.json) {
    nlohmann::json out = measurement_json(m);
    out.update({{"shape", flags.shape},
                {"format", name_of(flags.format)},
                {"group", format.experts.group},
                {"tokens", flags.tokens},
                {"unique", a.unique}});
    fmt::print("{}\n", out.dump(2));
    return {};
  }
  fmt::print("{} {}, {} tokens, {} experts: {}", flags.shape, name_of(flags.format), flags.tokens,
             a.unique, measurement_text(m));
  return {};
}

}  // namespace

void add_bench_moe(CLI::App& bench, Run& run) {
  CLI::App* command =
      bench.add_subcommand("moe", "The routed experts of one layer with packed weights");
  const auto a = std::make_shared<BenchMoeArguments>();
  a->flags.add_to(*command);
  command->add_option("--unique", a->unique, "Experts that the block's tokens choose together")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->callback([&run, a] { run = [a] { return bench_moe(*a); }; });
}

}  // namespace unmask::cli
