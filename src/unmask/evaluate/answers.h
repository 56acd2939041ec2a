#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/diffusion/generate.h"
#include "unmask/evaluate/accuracy.h"
#include "unmask/evaluate/tasks/task.h"
#include "unmask/text/stop_strings.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

struct AnswerOptions {
  GenerateOptions generate = {};
  uint64_t seed = 0;  // of the first answer; the others follow
  // Masked positions that an answer is written into; 0: as many as the right answer has with its
  // ends. Models that attend to the whole canvas have only seen answers that fill it.
  int32_t length = 0;
  int32_t samples = 1;  // answers to each question
  int32_t batch = 32;   // written at the same time
};

struct GradedAnswer {
  std::string text;
  bool right = false;
};

// Answers to the examples, `samples` for each, one example after the other.
struct TaskEvaluation {
  std::vector<GradedAnswer> answers;
  std::vector<Generation> generations;
  GenerateReport report;  // of all batches
  // Over examples, each with the share of its answers that are right: with several samples the
  // interval is on the safe side.
  Accuracy accuracy;
  Accuracy any;  // examples with a right answer among their samples
};

// Asks in the form of conversations (conversations.h), as the SFT objective trains on them. An
// answer is what is written before `stops`, at which options.generate ends it (end_at).
Result<TaskEvaluation> evaluate_task(Model& model, const Tokenizer& tokenizer, const Task& task,
                                     std::span<const TaskExample> examples,
                                     const AnswerOptions& options, const StopStrings& stops,
                                     Tape& tape);

}  // namespace unmask
