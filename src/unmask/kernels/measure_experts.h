#pragma once

#include <cstdint>

#include "unmask/base/result.h"
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

// Medians of measurements that took turns.
struct ExpertsMeasurement {
  double seconds = 0;
  double bytes = 0;                  // of the chosen experts' weights and scales
  double operations = 0;             // two for each multiply-add
  double read_bytes_per_second = 0;  // of the same memory, streamed
  double peak = 0;                   // operations per second of the format's arithmetic

  double floor_seconds() const;  // max(bytes / read rate, operations / peak)
};

// Every call meets other experts of the layer, as the layers of a model would: weights come from
// memory, not from the caches. About three seconds, and memory for all experts.
Result<ExpertsMeasurement> measure_experts(const ExpertsBenchmark& benchmark);

}  // namespace unmask
