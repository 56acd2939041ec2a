#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/diffusion/generate.h"
#include "unmask/model/model.h"
#include "unmask/text/conversations.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

// Self-distillation trains a model on what it has written itself (dMoE, arXiv 2605.30876): block
// decoding with a confidence threshold of 0.95, answers that do not end removed.

struct TargetOptions {
  // How to decode; what ends an answer is added. So many steps that none is made to commit what it
  // is not sure of, but one position where it is sure of nothing.
  GenerateOptions generate = {.steps = std::numeric_limits<int32_t>::max(),
                              .sampler = {.policy = "threshold", .threshold = 0.95f}};
  int32_t length = 2048;          // most tokens of an answer; less where prompt and answer fill the
                                  // positions of the model
  float least_confidence = 0.0f;  // answers with a token written at less are removed
  int32_t batch = 32;             // answers written at the same time, none of which depends on it
  uint64_t seed = 0;              // of the first prompt's answer; the others follow
  bool show_progress = false;
};

struct TargetCounts {
  int64_t prompts = 0;     // answered so far
  int64_t kept = 0;        // answers that ended, as the chat template or the end token has it
  int64_t unfinished = 0;  // answers that did not, removed

  // Answers that ended, removed for their least confidence.
  int64_t unsure() const { return prompts - kept - unfinished; }
};

// Tokens of the prompts in the form of conversations. Fails on one of `limit` tokens or more.
Result<std::vector<std::vector<int32_t>>> encode_prompts(std::span<const Conversation> prompts,
                                                         const Tokenizer& tokenizer, int32_t limit);

// Lets the model answer the prompts and writes those answers that end to `path` as conversations
// (JSON lines, in the order of the prompts; earlier answers in a prompt are `given`). Counts are
// kept in `path` with .json for its extension. Whole batches are added; a call with the same
// arguments goes on behind the last whole one, removing what was torn, and gives the same file as
// one that was never interrupted. Returns early when `stop` is set, without the batch under way.
// Bytes that are no UTF-8 are replaced. Fails on prompts without room for an answer, options that
// the model cannot decode with, and files of other prompts.
Result<TargetCounts> write_targets(Model& model, const Tokenizer& tokenizer,
                                   std::span<const Conversation> prompts,
                                   const TargetOptions& options, const std::string& path,
                                   const std::atomic<bool>& stop);

// What write_targets would return at once: the counts of a file that has answers to all prompts.
Result<std::optional<TargetCounts>> finished_targets(const std::string& path,
                                                     std::span<const Conversation> prompts);

}  // namespace unmask
