#include <atomic>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "unmask/cli/commands.h"
#include "unmask/cli/interrupt.h"
#include "unmask/cli/run_flags.h"
#include "unmask/train/plan.h"
#include "unmask/train/trainer.h"

namespace unmask::cli {
namespace {

struct TrainArguments {
  RunFlags run;
  bool plan = false;
};

Status print_plan(TrainConfig config) {
  UNMASK_TRY(const auto tokenizer, Tokenizer::load(config.data.tokenizer, config.data.special));
  UNMASK_TRY_STATUS(adopt_tokenizer(*tokenizer, config));
  UNMASK_TRY(const MemoryPlan plan, plan_memory(config));
  fmt::print("{}", describe(plan, config));
  return {};
}

Status train_command(const TrainArguments& a) {
  TrainRequest request;
  UNMASK_TRY(request.document, a.run.document());
  UNMASK_TRY(request.config, train_config_from_json(request.document, a.run.config));
  if (a.plan) return print_plan(std::move(request.config));
  const std::string directory = a.run.directory(request.config.name);
  request.run_directory = directory;
  request.resume = a.run.resume;
  request.show_progress = !a.run.quiet;
  const std::atomic<bool>& stop = stop_on_signal();
  UNMASK_TRY_STATUS(train(std::move(request), stop));
  return stop ? Status() : a.run.print_summary(directory);
}

}  // namespace

void add_train(CLI::App& program, Run& run) {
  const auto a = std::make_shared<TrainArguments>();
  CLI::App* command = program.add_subcommand("train", "Train a model as a configuration says");
  a->run.add_to(*command, "docs/training.md");
  command->add_flag("--plan", a->plan, "Print sizes, FLOPs and peak memory, and stop");
  command->callback([&run, a] { run = [a] { return train_command(*a); }; });
}

}  // namespace unmask::cli
