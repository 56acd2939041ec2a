#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "unmask/cli/commands.h"
#include "unmask/cli/interrupt.h"
#include "unmask/cli/run_flags.h"
#include "unmask/train/distillation.h"

namespace unmask::cli {
namespace {

Status distill_command(const RunFlags& flags) {
  DistillRequest request;
  UNMASK_TRY(request.document, flags.document());
  UNMASK_TRY(request.config, distill_config_from_json(request.document, flags.config));
  const std::string directory = flags.directory(request.config.train.name);
  request.run_directory = directory;
  request.resume = flags.resume;
  request.show_progress = !flags.quiet;
  const std::atomic<bool>& stop = stop_on_signal();
  UNMASK_TRY_STATUS(distill(std::move(request), stop));
  return stop ? Status() : flags.print_summary(directory);
}

}  // namespace

void add_distill(CLI::App& program, Run& run) {
  const auto flags = std::make_shared<RunFlags>();
  CLI::App* command = program.add_subcommand(
      "distill", "Train a model with another routing on answers that it has written itself");
  flags->add_to(*command, "docs/distillation.md");
  command->callback([&run, flags] { run = [flags] { return distill_command(*flags); }; });
}

}  // namespace unmask::cli
