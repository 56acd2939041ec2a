#pragma once

#include <cstdint>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/diffusion/routing_summary.h"
#include "unmask/evaluate/accuracy.h"
#include "unmask/evaluate/choice_questions.h"
#include "unmask/model/model.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

struct ChoiceOptions {
  int32_t shots = 0;
  int32_t batch = 8;  // sequences in a forward pass
};

struct ChoiceEvaluation {
  std::vector<int32_t> chosen;  // for each question; -1: it does not fit the model's positions
  Accuracy accuracy;            // of those that fit
  int64_t left_out = 0;
  int64_t shortened = 0;                // asked with fewer shots, so that they fit
  std::vector<RoutingSummary> routing;  // of each routed layer
  double seconds = 0;
};

// With a header: the letter whose token is most probable at one mask behind "Answer:" (of " A",
// " B", … the first token in which they differ). Without: the choice with the highest mean
// log-probability of a token, all of its tokens masked behind the question, in one forward pass.
Result<ChoiceEvaluation> evaluate_choices(Model& model, const Tokenizer& tokenizer,
                                          const ChoiceTask& task, const ChoiceData& data,
                                          const ChoiceOptions& options, Tape& tape);

}  // namespace unmask
