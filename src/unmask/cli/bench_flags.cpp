#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/base/parallel.h"
#include "unmask/cli/bench.h"
#include "unmask/cli/model_output.h"
#include "unmask/cli/validators.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/model/published_models.h"

namespace unmask::cli {

void BenchFlags::add_to(CLI::App& command) {
  command.add_option("--shape", shape, published_names())->capture_default_str();
  command.add_option("--format", format, "bf16, int8 or int4")
      ->transform(one_of(weight_formats()))
      ->default_str("int8");
  add_group_option(command, group);
  command.add_option("--tokens", tokens, "Tokens of the block")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command.add_flag("--json", json, "Machine-readable output");
}

std::string measurement_text(const Measurement& m) {
  return fmt::format(
      "{:.2f} ms, {:.2f} x the floor of {:.2f} ms\n"
      "  {:.1f} MB at {:.1f} GB/s: {:.2f} ms; {:.2f} GOP at {:.0f} GOP/s, {:.2f} of bf16 at {:.0f} "
      "and {:.2f} of f32 at {:.0f}: {:.2f} ms\n",
      1e3 * m.seconds, m.seconds / m.floor_seconds(), 1e3 * m.floor_seconds(), m.work.bytes / 1e6,
      m.read_bytes_per_second / 1e9, 1e3 * m.memory_seconds(), m.work.operations / 1e9,
      m.peak / 1e9, m.work.bf16_operations / 1e9, m.bf16_peak / 1e9, m.work.f32_operations / 1e9,
      m.f32_peak / 1e9, 1e3 * m.compute_seconds());
}

nlohmann::json measurement_json(const Measurement& m) {
  return {{"ms", 1e3 * m.seconds},
          {"floor_ms", 1e3 * m.floor_seconds()},
          {"to_floor", m.seconds / m.floor_seconds()},
          {"bytes", m.work.bytes},
          {"flops", m.work.operations + m.work.bf16_operations + m.work.f32_operations},
          {"bf16_flops", m.work.bf16_operations},
          {"f32_flops", m.work.f32_operations},
          {"read_bandwidth", m.read_bytes_per_second},
          {"peak", m.peak},
          {"bf16_peak", m.bf16_peak},
          {"f32_peak", m.f32_peak},
          {"isa", name_of(isa_in_use())},
          {"threads", thread_count()}};
}

}  // namespace unmask::cli
