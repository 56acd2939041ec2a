#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/base/parallel.h"
#include "unmask/cli/commands.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/machine.h"

namespace unmask::cli {
namespace {

Status print_info(bool as_json) {
  const MachinePeaks peaks = measure_machine();
  if (as_json) {
    const nlohmann::json info = {
        {"isa", name_of(isa_in_use())}, {"reference_kernels", use_reference_kernels()},
        {"threads", thread_count()},    {"read_bytes_per_second", peaks.read_bytes_per_second},
        {"f32_flops", peaks.f32_flops}, {"bf16_flops", peaks.bf16_flops},
        {"int8_ops", peaks.int8_ops}};
    fmt::print("{}\n", to_text(info, 2));
    return {};
  }
  fmt::print("kernels         {}{}\n", name_of(isa_in_use()),
             use_reference_kernels() ? " (plain reference twins where they exist)" : "");
  fmt::print("threads         {}\n", thread_count());
  fmt::print("read bandwidth  {:.1f} GB/s\n", peaks.read_bytes_per_second / 1e9);
  fmt::print("f32             {:.0f} GFLOP/s\n", peaks.f32_flops / 1e9);
  fmt::print("bf16            {:.0f} GFLOP/s{}\n", peaks.bf16_flops / 1e9,
             isa_in_use() >= Isa::avx512_bf16 ? "" : " (no bf16 dot instruction: f32 arithmetic)");
  fmt::print("int8            {:.0f} GOP/s{}\n", peaks.int8_ops / 1e9,
             isa_in_use() >= Isa::avx512_vnni ? "" : " (no int8 dot instruction)");
  return {};
}

}  // namespace

void add_info(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "info", "Which kernels this machine runs, and its measured bandwidth and FLOP peaks");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Machine-readable output");
  command->callback([&run, as_json] { run = [as_json] { return print_info(*as_json); }; });
}

}  // namespace unmask::cli
