#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "unmask/base/result.h"

namespace unmask {

// The checkpoints of a run: RUN/checkpoints/step-00000100, …, and RUN/best, a symbolic link to one
// of them. A directory that is still being written has ".partial" in its name and is no checkpoint.

// Where the checkpoint of a step belongs.
std::string checkpoint_path(const std::string& run_directory, int64_t step);

struct CheckpointEntry {
  int64_t step = 0;
  std::string path;
};

// The whole ones, by ascending step; none when there is no such run.
std::vector<CheckpointEntry> list_checkpoints(const std::string& run_directory);

std::optional<CheckpointEntry> latest_checkpoint(const std::string& run_directory);

// What `best` points to, if it is there.
std::optional<CheckpointEntry> best_checkpoint(const std::string& run_directory);

// An error where `best` is a directory, which could not be made to point to another checkpoint.
Status check_best(const std::string& run_directory);

// The checkpoint that a path means: of a training run its best, else its newest; else the
// directory.
Result<std::string> find_checkpoint(const std::string& path);

// Points `best` to the checkpoint of this step, in one step.
Status mark_best_checkpoint(const std::string& run_directory, int64_t step);

// Removes all but the newest `keep` (at least one) and the best, and what killed runs left
// half-written. Not while a checkpoint is being saved.
Status prune_checkpoints(const std::string& run_directory, int32_t keep);

}  // namespace unmask
