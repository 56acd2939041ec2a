#pragma once

#include <cstdint>

namespace unmask {

// The elementwise middle of a SwiGLU expert, for n values of one row.
struct SwiGluKernel {
  // h = weight * silu(gate) * up
  void (*forward)(int64_t n, const float* gate, const float* up, float weight, float* h);

  // Given dh = the gradient of h before the combine weight is applied:
  //   d_gate = weight * dh * up * silu'(gate),  d_up = weight * dh * silu(gate),
  //   h = weight * silu(gate) * up;  returns sum of dh * silu(gate) * up, the gradient of weight.
  // h may lie where dh does.
  float (*backward)(int64_t n, const float* gate, const float* up, const float* dh, float weight,
                    float* d_gate, float* d_up, float* h);
};

const SwiGluKernel& swiglu_kernel();

}  // namespace unmask
