#include <algorithm>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/base/json_text.h"
#include "unmask/cli/bench.h"
#include "unmask/kernels/measure_experts.h"
#include "unmask/model/published_models.h"

namespace unmask::cli {
namespace {

struct BenchMoeArguments {
  BenchFlags flags;
  std::optional<int32_t> unique;
};

// That of LLaDA2.0-mini's blocks of 32 tokens, or as many as fewer tokens can choose.
int32_t unique_of(const BenchMoeArguments& a, const ModelConfig& shape) {
  constexpr int32_t kUsual = 69;
  const int32_t choices = a.flags.tokens * shape.routing.experts_per_token;
  return a.unique.value_or(std::min({kUsual, choices, shape.experts}));
}

Status bench_moe(const BenchMoeArguments& a) {
  const BenchFlags& flags = a.flags;
  UNMASK_TRY(const ModelConfig shape, published_model(flags.shape));
  const int32_t unique = unique_of(a, shape);
  UNMASK_TRY(const PackedFormat format, packed_format(flags.format, flags.group));
  UNMASK_TRY(const Measurement m, measure_experts({.hidden = shape.hidden,
                                                   .ffn = shape.expert_ffn,
                                                   .experts = shape.experts,
                                                   .per_token = shape.routing.experts_per_token,
                                                   .format = format.experts.format,
                                                   .group = format.experts.group,
                                                   .tokens = flags.tokens,
                                                   .unique = unique}));
  if (flags.json) {
    nlohmann::json out = measurement_json(m);
    out.update({{"shape", flags.shape},
                {"format", name_of(flags.format)},
                {"group", format.experts.group},
                {"tokens", flags.tokens},
                {"unique", unique}});
    fmt::print("{}\n", to_text(out, 2));
    return {};
  }
  fmt::print("{} {}, {} tokens, {} experts: {}", flags.shape, name_of(flags.format), flags.tokens,
             unique, measurement_text(m));
  return {};
}

}  // namespace

void add_bench_moe(CLI::App& bench, Run& run) {
  CLI::App* command =
      bench.add_subcommand("moe", "The routed experts of one layer with packed weights");
  const auto a = std::make_shared<BenchMoeArguments>();
  a->flags.add_to(*command);
  command
      ->add_option(
          "--unique", a->unique,
          "Experts that the block's tokens choose together (69, or as many as there can be)")
      ->check(CLI::Range(1, 1 << 16));
  command->callback([&run, a] { run = [a] { return bench_moe(*a); }; });
}

}  // namespace unmask::cli
