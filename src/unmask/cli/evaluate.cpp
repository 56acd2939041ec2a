#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/decoding_flags.h"
#include "unmask/cli/evaluate_flags.h"
#include "unmask/evaluate/multiple_choice.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask::cli {
namespace {

struct EvaluateArguments {
  std::string checkpoint;
  std::vector<std::string> data;
  TextFlags text;
  TaskFlags task;
  DecodingFlags decoding;
};

// What can be measured. Each option belongs to some of them and is refused with the others.
enum Measure : unsigned { kLoss = 1, kGenerated = 2, kChoice = 4 };
struct MeasureOption {
  CLI::Option* option;
  unsigned of;
};

Result<Measure> measure_of(const std::string& task) {
  if (task.empty()) return kLoss;
  if (find_task(task)) return kGenerated;
  if (find_choice_task(task)) return kChoice;
  std::vector<std::string> names = task_names();
  std::ranges::copy(choice_task_names(), std::back_inserter(names));
  return usage_error("--task {}: expected one of {} (nearest: {})", task, fmt::join(names, ", "),
                     nearest_name(task, names));
}

std::string text_of(Measure measure, const std::string& task) {
  return measure == kLoss ? "without --task" : "with --task " + task;
}

Status evaluate(const EvaluateArguments& a, const std::vector<MeasureOption>& options) {
  UNMASK_TRY(const Measure measure, measure_of(a.task.task));
  for (const auto& [option, of] : options) {
    if (option->count() == 0 || (of & measure)) continue;
    return usage_error("{}: means nothing {}; leave it out", option->get_name(),
                       text_of(measure, a.task.task));
  }
  const bool needs_data = measure != kGenerated;
  if (needs_data && a.data.empty()) {
    return usage_error(
        "--data: expected {} {}",
        measure == kLoss ? "a text to measure the loss on" : "the directory of the questions",
        text_of(measure, a.task.task));
  }
  UNMASK_TRY(const std::string checkpoint, find_checkpoint(a.checkpoint));
  if (measure == kLoss) return evaluate_text(checkpoint, a.data, a.text, a.task, a.decoding);
  if (measure == kChoice && a.data.size() > 1) {
    return usage_error("--data: expected one directory of questions {}, found {}",
                       text_of(measure, a.task.task), a.data.size());
  }
  if (measure == kGenerated) return evaluate_generated_task(checkpoint, a.task, a.decoding);
  TaskFlags flags = a.task;
  flags.directory = a.data.front();
  return evaluate_choice_task(checkpoint, flags, a.decoding);
}

}  // namespace

void add_evaluate(CLI::App& program, Run& run) {
  const auto a = std::make_shared<EvaluateArguments>();
  CLI::App* command = program.add_subcommand(
      "evaluate", "Loss and perplexity on a text, or the share of right answers to a task");
  std::vector<MeasureOption> options;
  const auto add = [&](unsigned of, const char* name, auto& value, const std::string& help) {
    CLI::Option* const option = command->add_option(name, value, help);
    options.push_back({option, of});
    return option;
  };
  command
      ->add_option("CHECKPOINT", a->checkpoint,
                   "Checkpoint directory, or a training run (its best)")
      ->required();
  command->add_option(
      "--task", a->task.task,
      fmt::format("Generated and graded: {}; multiple choice: {} (docs/tasks.md)",
                  fmt::join(task_names(), ", "), fmt::join(choice_task_names(), ", ")));
  add(kLoss | kChoice, "--data", a->data,
      "Text files, JSON lines, token datasets or directories; the directory of a task's questions; "
      "repeatable")
      ->allow_extra_args(false);
  add(kLoss | kGenerated, "--length", a->task.length,
      "Tokens in a sequence (0: 256, or the model's most); of an answer (0: of the right one)")
      ->capture_default_str();
  command->add_option("--batch", a->task.batch,
                      "Sequences in a forward pass (0: 8, for generated answers 32)");
  command->add_flag("--json", a->task.json, "All figures as JSON");

  add(kLoss, "--sequences", a->text.sequences, "At most, evenly spaced over the data; 0: all")
      ->capture_default_str();
  add(kLoss, "--against", a->text.against,
      "Another form of the model, e.g. the checkpoint it was packed from: how far its logits are");
  add(kLoss, "--draws", a->text.options.draws, "Mask ratios tried on each sequence")
      ->capture_default_str();
  add(kLoss, "--levels", a->text.options.levels,
      "Besides, fixed mask probabilities, e.g. 0.1,0.3,0.5,0.7,0.9")
      ->delimiter(',')
      ->allow_extra_args(false);

  add(kGenerated | kChoice, "--count", a->task.count, "Questions (0: 500 generated ones, or all)");
  add(kGenerated | kChoice, "--show", a->task.show, "Print so many answers");
  add(kGenerated, "--set", a->task.settings, "key=value: how hard the task is, repeatable")
      ->allow_extra_args(false);
  add(kGenerated, "--samples", a->task.samples, "Answers to each question")->capture_default_str();
  add(kChoice, "--split", a->task.split, "Which questions (test, else validation)");
  add(kChoice, "--shots", a->task.shots, "Answered questions shown first (-1: the task's own)")
      ->check(CLI::Range(-1, 1000))
      ->capture_default_str();

  a->decoding.add_to(*command);
  for (CLI::Option* option : command->get_option_group("decoding")->get_options()) {
    const std::string name = option->get_name();
    if (name == "--seed") {
      option->description("Of noise, questions and sampling");
    } else if (name != "--precision" && name != "--expert-memory") {
      options.push_back({option, kGenerated});
    }
  }
  command->callback([&run, a, options] { run = [a, options] { return evaluate(*a, options); }; });
}

}  // namespace unmask::cli
