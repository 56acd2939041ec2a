#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/decoding_flags.h"
#include "unmask/cli/evaluate_task.h"
#include "unmask/evaluate/logit_difference.h"
#include "unmask/evaluate/loss.h"
#include "unmask/evaluate/model_tokenizer.h"
#include "unmask/evaluate/multiple_choice.h"
#include "unmask/evaluate/tasks/registry.h"
#include "unmask/text/corpus.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

constexpr int32_t kShownBins = 4;

struct EvaluateArguments {
  std::string checkpoint;
  std::vector<std::string> data;
  std::string against;
  int64_t sequences = 256;
  EvaluateOptions options;
  TaskFlags task;
  DecodingFlags decoding;
};

// What can be measured. Each option belongs to some of them and is refused with the others.
enum Measure : unsigned { kLoss = 1, kGenerated = 2, kChoice = 4 };
struct MeasureOption {
  CLI::Option* option;
  unsigned of;
};

json to_json(const MeanLoss& loss) {
  return {{"loss", loss.count ? json(loss.mean()) : json(nullptr)}, {"count", loss.count}};
}

json to_json(const RoutingSummary& layer) {
  return {{"layer", layer.layer},
          {"tokens", layer.tokens},
          {"load", layer.load},
          {"max_over_mean_load", layer.max_over_mean_load()},
          {"experts_per_token", layer.experts_per_token},
          {"experts_per_token_min", layer.experts_per_token_min},
          {"experts_per_token_max", layer.experts_per_token_max},
          {"share_without_expert", layer.share_without_expert},
          {"share_dropped", layer.share_dropped},
          {"unique_experts_per_block", layer.unique_experts_per_block},
          {"router_entropy", layer.router_entropy}};
}

json to_json(const Evaluation& evaluation) {
  const ValidationLoss& loss = evaluation.stratified;
  json out = {{"loss", loss.loss()},
              {"perplexity", loss.perplexity()},
              {"sequences", evaluation.sequences},
              {"masked_tokens", loss.masked_tokens},
              {"seconds", evaluation.seconds},
              {"bins", json::array()},
              {"quarters", json::array()},
              {"routing", json::array()}};
  for (const MeanLoss& bin : loss.bins) out["bins"].push_back(to_json(bin));
  for (const MeanLoss& bin : loss.coarse_bins(kShownBins)) out["quarters"].push_back(to_json(bin));
  for (const RoutingSummary& layer : loss.routing) out["routing"].push_back(to_json(layer));
  if (evaluation.levels) {
    json levels = json::array();
    for (size_t i = 0; i < evaluation.levels->levels.size(); ++i) {
      json level = to_json(evaluation.levels->level_loss[i]);
      level["mask_probability"] = evaluation.levels->levels[i];
      levels.push_back(std::move(level));
    }
    out["levels"] = std::move(levels);
    out["levels_loss"] = evaluation.levels->loss();
  }
  return out;
}

void print(const Evaluation& evaluation) {
  const ValidationLoss& loss = evaluation.stratified;
  fmt::print("loss {:.4f} nats per token, perplexity {:.3f}\n", loss.loss(), loss.perplexity());
  fmt::print("{} sequences, {} predictions, {:.1f} s\n", evaluation.sequences, loss.masked_tokens,
             evaluation.seconds);
  const auto quarters = loss.coarse_bins(kShownBins);
  for (int32_t i = 0; i < kShownBins; ++i) {
    const bool measured = quarters[i].count > 0;
    fmt::print("  mask ratio {:.2f} to {:.2f}  {}\n", static_cast<double>(i) / kShownBins,
               static_cast<double>(i + 1) / kShownBins,
               measured ? fmt::format("{:.4f}", quarters[i].mean()) : "-");
  }
  for (const RoutingSummary& layer : loss.routing) {
    fmt::print("  layer {:2d}  {:.2f} experts per token ({:.0f} to {:.0f}), max/mean load {:.2f}\n",
               layer.layer, layer.experts_per_token, layer.experts_per_token_min,
               layer.experts_per_token_max, layer.max_over_mean_load());
  }
  if (!evaluation.levels) return;
  fmt::print("at fixed mask probabilities: mean {:.4f}\n", evaluation.levels->loss());
  for (size_t i = 0; i < evaluation.levels->levels.size(); ++i) {
    fmt::print("  {:.2f}  {:.4f}\n", evaluation.levels->levels[i],
               evaluation.levels->level_loss[i].mean());
  }
}

json to_json(const LogitDifference& difference) {
  return {{"rows", difference.rows},
          {"reference_rms", difference.reference_rms},
          {"rms", difference.rms},
          {"largest", difference.largest},
          {"same_argmax", difference.same_argmax}};
}

void print(const LogitDifference& d) {
  fmt::print(
      "logits against the reference: off by {:.4f} (root mean square, {:.2f} % of theirs), {:.4f} "
      "at most; {:.2f} % of {} rows have the same most probable token\n",
      d.rms, 100 * d.relative(), d.largest, 100 * d.same_argmax, d.rows);
}

Result<std::optional<LogitDifference>> difference_to(const std::string& against,
                                                     const EvaluateArguments& a, Model& model,
                                                     const CleanBatch& sequences) {
  if (against.empty()) return std::optional<LogitDifference>();
  UNMASK_TRY(const std::string checkpoint, find_checkpoint(against));
  UNMASK_TRY(Model reference, a.decoding.load(checkpoint));
  UNMASK_TRY(const auto difference, compare_logits(model, reference, sequences, a.decoding.seed));
  return std::optional(difference);
}

Status evaluate_text(const EvaluateArguments& a) {
  const int32_t asked = a.task.length;
  if (asked < 0 || a.sequences < 0) {
    return usage_error("--length {} --sequences {}: expected 0 or more", asked, a.sequences);
  }
  UNMASK_TRY(const std::string checkpoint, find_checkpoint(a.checkpoint));
  UNMASK_TRY(Model model, a.decoding.load(checkpoint));
  UNMASK_TRY(const auto tokenizer, load_tokenizer(checkpoint, model.config()));
  constexpr int32_t kDefaultLength = 256;
  const int32_t length = asked ? asked : std::min(kDefaultLength, model.config().max_positions);
  UNMASK_TRY(const auto source, open_corpus(a.data, *tokenizer, length));
  UNMASK_TRY(const SequenceBatch data, read_evaluation_data(*source, a.sequences));
  EvaluateOptions options = a.options;
  options.seed = a.decoding.seed;
  if (a.task.batch) options.batch_sequences = a.task.batch;
  Tape tape;
  UNMASK_TRY(const Evaluation evaluation, evaluate_loss(model, clean_batch(data), options, tape));
  UNMASK_TRY(const auto difference, difference_to(a.against, a, model, clean_batch(data)));
  if (a.task.json) {
    json out = to_json(evaluation);
    if (difference) out["logits"] = to_json(*difference);
    fmt::print("{}\n", to_text(out));
  } else {
    print(evaluation);
    if (difference) print(*difference);
  }
  return {};
}

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
  if (measure == kLoss) return evaluate_text(a);
  UNMASK_TRY(const std::string checkpoint, find_checkpoint(a.checkpoint));
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

  add(kLoss, "--sequences", a->sequences, "At most, evenly spaced over the data; 0: all")
      ->capture_default_str();
  add(kLoss, "--against", a->against,
      "Another form of the model, e.g. the checkpoint it was packed from: how far its logits are");
  add(kLoss, "--draws", a->options.draws, "Mask ratios tried on each sequence")
      ->capture_default_str();
  add(kLoss, "--levels", a->options.levels,
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
