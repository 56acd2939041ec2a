#include "unmask/evaluate/answers.h"

#include <algorithm>

#include "unmask/evaluate/written_text.h"
#include "unmask/text/chat_template.h"

namespace unmask {
namespace {

Result<Canvas> canvas_of(const TaskExample& example, const Tokenizer& tokenizer, int32_t length,
                         int32_t mask_token) {
  const Message question = {"user", example.prompt};
  const ChatTemplate& chat = ChatTemplate::of(tokenizer);
  UNMASK_TRY(const std::string text, chat.prompt(std::span(&question, 1)));
  UNMASK_TRY(const auto prompt, tokenizer.encode(text));
  if (length == 0) {
    UNMASK_TRY(const auto answer, tokenizer.encode(example.answer + std::string(chat.end)));
    length = static_cast<int32_t>(answer.size()) + 1;  // the end token
  }
  return Canvas::continuation(prompt, length, mask_token);
}

void grade(const Task& task, std::span<const TaskExample> examples, int64_t samples,
           TaskEvaluation& evaluation) {
  double right = 0, any = 0;
  for (size_t i = 0; i < evaluation.answers.size(); ++i) {
    GradedAnswer& answer = evaluation.answers[i];
    answer.right = task.is_right(examples[i / static_cast<size_t>(samples)], answer.text);
  }
  for (auto first = evaluation.answers.begin(); first != evaluation.answers.end();
       first += samples) {
    const auto count = std::count_if(first, first + samples, [](const auto& a) { return a.right; });
    right += static_cast<double>(count) / static_cast<double>(samples);
    any += count > 0;
  }
  evaluation.accuracy = accuracy_of(right, std::ssize(examples));
  evaluation.any = accuracy_of(any, std::ssize(examples));
}

}  // namespace

Result<TaskEvaluation> evaluate_task(Model& model, const Tokenizer& tokenizer, const Task& task,
                                     std::span<const TaskExample> examples,
                                     const AnswerOptions& options, const StopStrings& stops,
                                     Tape& tape) {
  if (options.samples < 1 || options.batch < 1 || options.length < 0) {
    return usage_error("samples {}, batch {}, length {}: expected at least 1, 1 and 0",
                       options.samples, options.batch, options.length);
  }
  std::vector<GenerateRequest> requests;
  for (const TaskExample& example : examples) {
    UNMASK_TRY(const Canvas canvas,
               canvas_of(example, tokenizer, options.length, model.config().mask_token));
    for (int32_t i = 0; i < options.samples; ++i) {
      requests.push_back({canvas, options.seed + requests.size()});
    }
  }

  TaskEvaluation evaluation;
  const auto batch = static_cast<size_t>(options.batch);
  for (size_t begin = 0; begin < requests.size(); begin += batch) {
    const auto part = std::span(requests).subspan(begin, std::min(batch, requests.size() - begin));
    GenerateReport report;
    UNMASK_TRY(auto generations, generate(model, part, options.generate, tape, &report));
    for (Generation& generation : generations) {
      evaluation.answers.push_back({.text = written_text(generation, tokenizer, stops)});
      evaluation.generations.push_back(std::move(generation));
    }
    evaluation.report.add(report);
  }
  grade(task, examples, options.samples, evaluation);
  return evaluation;
}

}  // namespace unmask
