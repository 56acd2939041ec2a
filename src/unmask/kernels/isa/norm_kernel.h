#pragma once

#include <cstdint>

namespace unmask {

// One row of RMSNorm, and of per-head RMSNorm with rotation (norm.h and rope.h have the formulas).
struct NormKernel {
  // y = x * s * gain; returns s = 1 / sqrt(mean(x^2) + epsilon).
  float (*forward)(int64_t n, const float* x, const float* gain, float epsilon, float* y);

  // dx += gradient, dgain += (may be null).
  void (*backward)(int64_t n, const float* x, const float* gain, float inv_rms, const float* dy,
                   float* dx, float* dgain);

  // A row of heads, each of `n` values of which the first 2 `half` turn; cosine and sine [half].
  struct Heads {
    int64_t heads, n, half;
    const float* cosine;
    const float* sine;
    const float* gain;  // [n], null: no norm
  };
  // inv_rms [heads] may be null; y may be x.
  void (*rotate_forward)(const Heads& row, const float* x, float epsilon, float* y, float* inv_rms);

  // dx = (may be dy), dgain += (may be null). x and inv_rms are not read without a gain.
  void (*rotate_backward)(const Heads& row, const float* x, const float* inv_rms, const float* dy,
                          float* dx, float* dgain);
};

// Of the instruction set in use (isa.h).
const NormKernel& norm_kernel();

}  // namespace unmask
