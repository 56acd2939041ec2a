#include "unmask/cli/bench.h"

#include <CLI/CLI.hpp>

#include "unmask/cli/commands.h"

namespace unmask::cli {

void add_bench(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "bench",
      "Measures against the floor: the larger of what reading the weights and what computing with "
      "them takes on this machine, measured in turns");
  command->require_subcommand(1);
  add_bench_moe(*command, run);
  add_bench_layer(*command, run);
  add_bench_decode(*command, run);
}

}  // namespace unmask::cli
