#include <algorithm>
#include <memory>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/cli/accuracy_report.h"
#include "unmask/cli/evaluate_flags.h"
#include "unmask/evaluate/model_tokenizer.h"
#include "unmask/evaluate/multiple_choice.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

size_t shown(const ChoiceData& data, const TaskFlags& flags) {
  return std::min(static_cast<size_t>(flags.show), data.questions.size());
}

json to_json(const ChoiceData& data, const ChoiceEvaluation& evaluation, int32_t shots,
             const TaskFlags& flags) {
  json out = accuracy_json(evaluation.accuracy);
  out["task"] = flags.task;
  out["shots"] = shots;
  out["left_out"] = evaluation.left_out;
  out["shortened"] = evaluation.shortened;
  out["seconds"] = evaluation.seconds;
  out["unique_experts_per_block"] = json::array();
  for (const RoutingSummary& layer : evaluation.routing) {
    out["unique_experts_per_block"].push_back(layer.unique_experts_per_block);
  }
  out["examples"] = json::array();
  for (size_t i = 0; i < shown(data, flags); ++i) {
    const ChoiceQuestion& question = data.questions[i];
    out["examples"].push_back({{"question", question.question},
                               {"choices", question.choices},
                               {"answer", question.answer},
                               {"chosen", evaluation.chosen[i]}});
  }
  return out;
}

void print(const ChoiceData& data, const ChoiceEvaluation& evaluation, int32_t shots,
           const TaskFlags& flags) {
  for (size_t i = 0; i < shown(data, flags); ++i) {
    const ChoiceQuestion& question = data.questions[i];
    const int32_t chosen = evaluation.chosen[i];
    fmt::print("-- {}\n{}\n", chosen == question.answer ? "right" : "wrong", question.question);
    for (int32_t choice = 0; choice < std::ssize(question.choices); ++choice) {
      fmt::print("{} {}{}\n", choice == chosen ? "->" : "  ",
                 question.choices[static_cast<size_t>(choice)],
                 choice == question.answer ? " *" : "");
    }
  }
  fmt::print("{}, {} shots: {}\n", flags.task, shots, accuracy_text(evaluation.accuracy));
  if (evaluation.shortened > 0) {
    fmt::print("{} asked with fewer shots, so that they fit\n", evaluation.shortened);
  }
  if (evaluation.left_out > 0) {
    fmt::print("{} left out: longer than the model's positions\n", evaluation.left_out);
  }
  for (const RoutingSummary& layer : evaluation.routing) {
    fmt::print("  layer {:2d}  {:.2f} experts per token, {:.1f} unique experts per block\n",
               layer.layer, layer.experts_per_token, layer.unique_experts_per_block);
  }
  fmt::print("{:.1f} s\n", evaluation.seconds);
}

}  // namespace

Status evaluate_choice_task(const std::string& checkpoint, const TaskFlags& flags,
                            const DecodingFlags& decoding) {
  if (flags.count < 0 || flags.show < 0) {
    return usage_error("--count {} --show {}: expected 0 or more", flags.count, flags.show);
  }
  const ChoiceTask& task = *find_choice_task(flags.task);
  const int32_t shots = flags.shots >= 0 ? flags.shots : task.shots;
  UNMASK_TRY(ChoiceData data, read_choice_data(task, flags.directory, flags.split, shots));
  if (flags.count > 0 && flags.count < std::ssize(data.questions)) {
    data.questions.resize(static_cast<size_t>(flags.count));
  }
  UNMASK_TRY(Model model, decoding.load(checkpoint));
  UNMASK_TRY(const auto tokenizer, load_tokenizer(checkpoint, model.config()));
  ChoiceOptions options{.shots = shots};
  if (flags.batch) options.batch = flags.batch;
  Tape tape;
  UNMASK_TRY(const ChoiceEvaluation evaluation,
             evaluate_choices(model, *tokenizer, task, data, options, tape));
  if (flags.json) {
    fmt::print("{}\n", to_text(to_json(data, evaluation, shots, flags)));
  } else {
    print(data, evaluation, shots, flags);
  }
  return {};
}

}  // namespace unmask::cli
