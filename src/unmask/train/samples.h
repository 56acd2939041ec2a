#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "unmask/base/result.h"
#include "unmask/text/tokenizer.h"
#include "unmask/train/learner.h"

namespace unmask {

// Appends a text that the model writes at this step to samples.jsonl of the run: from an empty
// prompt, evaluation.sample_length tokens, one commit a step. False: `stop` was set meanwhile, and
// there is none.
Result<bool> append_sample(const std::string& run_directory, int64_t step, Learner& learner,
                           const Tokenizer& tokenizer, const TrainConfig& config,
                           const std::atomic<bool>& stop);

// Of a resumed run: samples of steps that will be made again.
void drop_samples_after(const std::string& run_directory, int64_t step);

}  // namespace unmask
