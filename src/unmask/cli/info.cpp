#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "unmask/base/parallel.h"
#include "unmask/cli/commands.h"

namespace unmask::cli {

void add_info(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand("info", "What this machine offers and unmask uses");
  command->callback([&run] {
    run = []() -> Status {
      fmt::print("threads: {}\n", thread_count());
      return {};
    };
  });
}

}  // namespace unmask::cli
