#pragma once

#include <cstdint>
#include <string>

#include "unmask/train/config.h"

namespace unmask {

// What a run will hold in memory at its peak, in bytes (docs/memory.md).
struct MemoryPlan {
  int64_t parameters = 0;  // their number
  int64_t weights = 0;
  int64_t gradients = 0;
  int64_t moments = 0;
  int64_t tape = 0;     // activations kept for the backward pass
  int64_t scratch = 0;  // of the passes and kernels
  int64_t total() const { return weights + gradients + moments + tape + scratch; }
};

// Refuses routers that cannot be trained.
Result<MemoryPlan> plan_memory(const TrainConfig& config);

// An error where this machine has less.
Status check_memory(const MemoryPlan& plan);

// The plan as lines for a person.
std::string describe(const MemoryPlan& plan, const TrainConfig& config);

}  // namespace unmask
