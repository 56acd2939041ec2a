#pragma once

#include <cstdint>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/kernels/measurement.h"
#include "unmask/model/model.h"

namespace unmask {

// One denoising step of a block behind a context, with packed weights.
struct StepBenchmark {
  int32_t tokens = 32;    // of the block; half of them need logits
  int32_t context = 512;  // positions in the KV cache
  int32_t steps = 15;     // each with other tokens
  bool head = true;       // logits of the masked positions too
};

struct StepMeasurement {
  Measurement step;
  Profile parts;                               // seconds of a step, means
  std::vector<double> unique_experts;          // [layers] mean over the steps; 0 in dense layers
  int64_t cache_bytes = 0;                     // keys and values
  std::optional<ExpertCache::Counts> experts;  // of the steps, where experts are read as needed
};

// Counts what the step must read (every touched weight once, the routers in f32, keys and values)
// and compute, and measures reading and arithmetic in turns with the steps. The tokens are random.
Result<StepMeasurement> measure_step(Model& model, const StepBenchmark& benchmark);

}  // namespace unmask
