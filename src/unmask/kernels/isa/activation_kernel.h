#pragma once

#include <cstdint>

namespace unmask {

// Rows of activations in the forms that meet packed weights (activation_rows.h). Every instruction
// set gives the same bits.
struct ActivationKernel {
  // Levels of x [groups * group], nearest to x * 127 / (largest |x|), ties to even: four in each of
  // words [groups * group / 4]; start[g] = -bias * (sum of the group's levels). `group` is a
  // multiple of 32. Returns the scale of a level, NaN for a row that is not finite.
  float (*to_levels)(int64_t groups, int64_t group, int32_t bias, const float* x, uint32_t* words,
                     int32_t* start);

  // Pairs of bf16, x[2 i] lower, from x [2 * words].
  void (*to_pairs)(int64_t words, const float* x, uint32_t* to);
};

const ActivationKernel& activation_kernel();

}  // namespace unmask
