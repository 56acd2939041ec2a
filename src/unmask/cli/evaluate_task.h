#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/cli/decoding_flags.h"

namespace unmask::cli {

// What `unmask evaluate --task` was told; 0 means the default where nothing else is said.
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

// Answers are generated and graded.
Status evaluate_generated_task(const std::string& checkpoint, const TaskFlags& flags,
                               const DecodingFlags& decoding);
// Answers are picked from choices. The task is one of choice_task_names().
Status evaluate_choice_task(const std::string& checkpoint, const TaskFlags& flags,
                            const DecodingFlags& decoding);

}  // namespace unmask::cli
