#pragma once

#include <cstdint>

#include "unmask/base/result.h"
#include "unmask/kernels/measurement.h"
#include "unmask/kernels/quantized_matrix.h"

namespace unmask {

// The routed experts of one layer, for a block of tokens.
struct ExpertsBenchmark {
  int64_t hidden = 0;
  int64_t ffn = 0;
  int32_t experts = 0;
  int32_t per_token = 0;
  WeightFormat format = WeightFormat::bf16;
  int32_t group = 0;
  int32_t tokens = 0;
  int32_t unique = 0;  // experts that any token chooses
};

// Every call meets other experts of the layer, as the layers of a model would: weights come from
// memory, not from the caches. About three seconds, and memory for all experts.
Result<Measurement> measure_experts(const ExpertsBenchmark& benchmark);

}  // namespace unmask
