#pragma once

#include <cstddef>
#include <cstdint>

#include "unmask/model/config.h"
#include "unmask/model/tape.h"

namespace unmask {

// How the model is run.
struct ModelOptions {
  Precision precision = Precision::f32;
  bool recompute = false;  // keep only the layers' inputs, and run each layer again in backward
};

// The most that the arenas of a tape will hold, in bytes (docs/memory.md).
struct TapePlan {
  size_t arena = 0;    // room for one [N, hidden] gradient of the result included, in training
  size_t scratch = 0;  // loss at every row included
};

// For `tokens` rows and at most `slots` slots in a layer.
TapePlan plan_tape(const ModelConfig& config, const ModelOptions& options, Tape::Mode mode,
                   int64_t tokens, int64_t slots);

}  // namespace unmask
