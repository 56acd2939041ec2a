#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/cli/decoding_flags.h"
#include "unmask/evaluate/loss.h"

namespace unmask::cli {

// What `unmask evaluate` was told; 0 means the default where nothing else is said.
struct TaskFlags {
  std::string task;
  int64_t count = 0;
  int32_t batch = 0;
  int32_t show = 0;
  bool json = false;

  std::vector<std::string> settings;  // of generated tasks
  int32_t samples = 1;
  int32_t length = 0;

  std::string directory;  // of multiple choice
  std::string split;
  int32_t shots = -1;  // -1: the task's own
};

// What it was told without --task; length, batch and json are of the flags above.
struct TextFlags {
  std::string against;
  int64_t sequences = 256;
  EvaluateOptions options;
};

// The loss on texts, and how far logits are from those of another form of the model.
Status evaluate_text(const std::string& checkpoint, const std::vector<std::string>& data,
                     const TextFlags& text, const TaskFlags& flags, const DecodingFlags& decoding);
// Answers are generated and graded.
Status evaluate_generated_task(const std::string& checkpoint, const TaskFlags& flags,
                               const DecodingFlags& decoding);
// Answers are picked from choices. The task is one of choice_task_names().
Status evaluate_choice_task(const std::string& checkpoint, const TaskFlags& flags,
                            const DecodingFlags& decoding);

}  // namespace unmask::cli
