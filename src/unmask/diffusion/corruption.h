#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/random.h"
#include "unmask/base/result.h"

namespace unmask {

// Where the mask ratio t of a training sequence is drawn from: U(low, high).
struct MaskRatioRange {
  float low = 0.0f;
  float high = 1.0f;
  // One draw for the whole step, and sequence i of B gets the i-th of B evenly spaced points
  // around the circle: each B-th part of the range holds exactly one t, every t is still uniform.
  bool stratified = false;
};

// 0 <= low <= high <= 1, or a usage error.
Status validate(const MaskRatioRange& range);

// t for sequence `sequence` of the `batch_sequences` in the global batch of a step: a function of
// its arguments alone, whatever rank or micro-batch the sequence is in.
float draw_mask_ratio(const MaskRatioRange& range, uint64_t seed, uint64_t step, int64_t sequence,
                      int64_t batch_sequences);

// Masks every position of [begin, end) independently with probability t, and at least one (the one
// nearest to being masked) unless the range is empty: masked[i] = 1 for those, 0 elsewhere.
// Position i of the sequence draws the number (a, b, i). Returns how many are masked.
int32_t mask_positions(float t, RandomKey key, uint64_t a, uint32_t b, int32_t begin, int32_t end,
                       std::span<uint8_t> masked);

}  // namespace unmask
