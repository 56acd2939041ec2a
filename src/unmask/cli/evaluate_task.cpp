#include <algorithm>
#include <memory>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/cli/accuracy_report.h"
#include "unmask/cli/evaluate_flags.h"
#include "unmask/cli/task_settings.h"
#include "unmask/diffusion/generation_report.h"
#include "unmask/evaluate/answers.h"
#include "unmask/evaluate/model_tokenizer.h"

namespace unmask::cli {
namespace {

using nlohmann::json;

constexpr int64_t kExamples = 500;

struct Evaluated {
  const std::vector<TaskExample>& examples;
  const TaskEvaluation& evaluation;
  const ModelConfig& config;
  const TaskFlags& flags;

  double tokens_per_second() const {
    int64_t committed = 0;
    for (const Generation& g : evaluation.generations) committed += g.committed;
    return static_cast<double>(committed) / evaluation.report.seconds;
  }
  size_t shown() const {
    return std::min(static_cast<size_t>(flags.show), evaluation.answers.size());
  }
  const TaskExample& example_of(size_t answer) const {
    return examples[answer / static_cast<size_t>(flags.samples)];
  }
};

json to_json(const Evaluated& e) {
  json out = accuracy_json(e.evaluation.accuracy);
  out["task"] = e.flags.task;
  out["samples"] = e.flags.samples;
  out["right_in_any_sample"] = accuracy_json(e.evaluation.any);
  out["tokens_per_second"] = e.tokens_per_second();
  out["report"] = report_json(e.evaluation.report, e.evaluation.generations, e.config);
  out["examples"] = json::array();
  for (size_t i = 0; i < e.shown(); ++i) {
    const TaskExample& example = e.example_of(i);
    out["examples"].push_back({{"prompt", example.prompt},
                               {"answer", example.answer},
                               {"text", e.evaluation.answers[i].text},
                               {"right", e.evaluation.answers[i].right}});
  }
  return out;
}

void print(const Evaluated& e) {
  for (size_t i = 0; i < e.shown(); ++i) {
    const TaskExample& example = e.example_of(i);
    const GradedAnswer& answer = e.evaluation.answers[i];
    fmt::print("-- {}\n{}\n-> {}\n", answer.right ? "right" : "wrong", example.prompt, answer.text);
    if (!answer.right) fmt::print("expected {}\n", example.answer);
  }
  fmt::print("{}: {}\n", e.flags.task, accuracy_text(e.evaluation.accuracy));
  if (e.flags.samples > 1) {
    fmt::print("in any of {} samples: {}\n", e.flags.samples, accuracy_text(e.evaluation.any));
  }
  fmt::print("{:.0f} tokens/s\n{}", e.tokens_per_second(),
             report_text(e.evaluation.report, e.evaluation.generations, e.config));
}

}  // namespace

Status evaluate_generated_task(const std::string& checkpoint, const TaskFlags& flags,
                               const DecodingFlags& decoding) {
  if (flags.count < 0 || flags.show < 0) {
    return usage_error("--count {} --show {}: expected 0 or more", flags.count, flags.show);
  }
  UNMASK_TRY(const auto task, make_task(flags.task, flags.settings));
  UNMASK_TRY(
      const auto examples,
      draw_examples(*task, Split::test, flags.count ? flags.count : kExamples, decoding.seed));
  UNMASK_TRY(Model model, decoding.load(checkpoint));
  UNMASK_TRY(const auto tokenizer, load_tokenizer(checkpoint, model.config()));
  UNMASK_TRY(const TextEnds ends, TextEnds::of_answers(*tokenizer, decoding.stop));
  AnswerOptions options;
  UNMASK_TRY(options.generate, decoding.complete(tokenizer.get(), ends));
  options.seed = decoding.seed;
  options.length = flags.length;
  options.samples = flags.samples;
  if (flags.batch) options.batch = flags.batch;
  Tape tape;
  UNMASK_TRY(const TaskEvaluation evaluation,
             evaluate_task(model, *tokenizer, *task, examples, options, ends.strings, tape));

  const Evaluated evaluated = {examples, evaluation, model.config(), flags};
  if (flags.json) {
    fmt::print("{}\n", to_text(to_json(evaluated)));
  } else {
    print(evaluated);
  }
  return {};
}

}  // namespace unmask::cli
