#include <atomic>
#include <csignal>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/base/document.h"
#include "unmask/cli/commands.h"
#include "unmask/report/metrics_reader.h"
#include "unmask/report/summary.h"
#include "unmask/train/plan.h"
#include "unmask/train/trainer.h"

namespace unmask::cli {
namespace {

struct TrainArguments {
  std::string config;
  std::vector<std::string> settings;
  std::string run;
  bool resume = false;
  bool plan = false;
  bool quiet = false;
};

std::atomic<bool> stop_requested = false;

// The first signal asks for a checkpoint and leaves; the second leaves at once.
void on_signal(int) {
  if (stop_requested.exchange(true)) _exit(130);
}

Status train_command(const TrainArguments& arguments) {
  TrainRequest request;
  UNMASK_TRY(request.document, read_layered_toml_file(arguments.config));
  for (const std::string& setting : arguments.settings) {
    UNMASK_TRY_STATUS(set_value(request.document, setting));
  }
  UNMASK_TRY(request.config, train_config_from_json(request.document, arguments.config));
  if (arguments.plan) {
    const TrainConfig::Data& data = request.config.data;
    UNMASK_TRY(const auto tokenizer, Tokenizer::load(data.tokenizer, data.special));
    UNMASK_TRY_STATUS(adopt_tokenizer(*tokenizer, request.config));
    UNMASK_TRY(const MemoryPlan plan, plan_memory(request.config));
    fmt::print("{}", describe(plan, request.config));
    return {};
  }
  request.run_directory = arguments.run.empty() ? "runs/" + request.config.name : arguments.run;
  request.resume = arguments.resume;
  request.show_progress = !arguments.quiet;

  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  const std::string run_directory = request.run_directory;
  UNMASK_TRY_STATUS(train(std::move(request), stop_requested));
  if (!arguments.quiet) {
    UNMASK_TRY(const RunLog log, read_run(run_directory));
    fmt::print("{}", summary_table(std::span(&log, 1)));
  }
  return {};
}

}  // namespace

void add_train(CLI::App& program, Run& run) {
  const auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command = program.add_subcommand("train", "Train a model as a configuration says");
  command->add_option("--config,-c", arguments->config, "TOML file (docs/training.md)")->required();
  command->add_option("--set", arguments->settings, "key=value over the file, repeatable")
      ->allow_extra_args(false);
  command->add_option("--run", arguments->run, "Run directory, by default runs/NAME");
  command->add_flag("--resume", arguments->resume, "Go on from the run's newest checkpoint");
  command->add_flag("--plan", arguments->plan, "Print sizes, FLOPs and peak memory, and stop");
  command->add_flag("--quiet", arguments->quiet, "No progress, no summary");
  command->callback([&run, arguments] { run = [arguments] { return train_command(*arguments); }; });
}

}  // namespace unmask::cli
