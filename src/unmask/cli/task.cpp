#include <map>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

#include "unmask/base/files.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/output_path.h"
#include "unmask/cli/task_settings.h"
#include "unmask/cli/validators.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask::cli {
namespace {

struct TaskArguments {
  std::string name, out;
  std::vector<std::string> settings;
  int64_t count = 1000;
  uint64_t seed = 0;
  Split split = Split::train;
};

Status task_command(const TaskArguments& a) {
  if (a.count < 1) return usage_error("--count {}: expected at least 1", a.count);
  constexpr std::string_view kText = "text=";  // the one setting that names a file
  for (const std::string& setting : a.settings) {
    if (!setting.starts_with(kText)) continue;
    UNMASK_TRY_STATUS(keep_inputs("--out", a.out, {setting.substr(kText.size())}));
  }
  UNMASK_TRY(const auto task, make_task(a.name, a.settings));
  UNMASK_TRY(const auto examples, draw_examples(*task, a.split, a.count, a.seed));
  return write_file_atomically(a.out, conversation_lines(examples));
}

}  // namespace

void add_task(CLI::App& program, Run& run) {
  const auto a = std::make_shared<TaskArguments>();
  CLI::App* command = program.add_subcommand(
      "task", "Write examples of a task that answers can be graded for (docs/tasks.md)");
  command->add_option("NAME", a->name, fmt::format("One of {}", fmt::join(task_names(), ", ")))
      ->required();
  command->add_option("--count", a->count, "Examples")->capture_default_str();
  command->add_option("--seed", a->seed, "Of the examples")->capture_default_str();
  command->add_option("--split", a->split, "train or test, which share no example")
      ->transform(one_of<Split>({{"train", Split::train}, {"test", Split::test}}))
      ->default_str("train");
  command->add_option("--set", a->settings, "key=value: how hard it is, repeatable")
      ->allow_extra_args(false);
  command->add_option("--out", a->out, "JSON lines of conversations to write")->required();
  command->callback([&run, a] { run = [a] { return task_command(*a); }; });
}

}  // namespace unmask::cli
