#pragma once

#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"
#include "unmask/kernels/quantized_matrix.h"

namespace unmask {

// Routed SwiGLU experts with packed weights, forward only (the equation is that of experts.h):
//   y[t] += sum over slots s of token t of down_e · (gate[s] * silu(gate_e · x[t]) * (up_e · x[t]))
// A product is that of quantized_linear.h: x is rounded, or quantized by row, and so is the
// SwiGLU's output with the combine weight in it.
struct QuantizedExperts {
  QuantizedStack gate;  // experts x [ffn, hidden]
  QuantizedStack up;    // experts x [ffn, hidden], of the same format and group
  QuantizedStack down;  // experts x [hidden, ffn]
};

// y [tokens, hidden] +=, the experts of a token in ascending order. Made for blocks of 1 to 256
// tokens: every chosen expert's weights are read from memory once, and shared between threads by
// tiles of outputs, so that they have the same work whatever the skew.
void experts_forward(ConstMatrix x, const QuantizedExperts& weights, const Assignment& assignment,
                     Matrix y);

// Dense SwiGLU, shared experts and dense layers: one expert that takes every token. y +=.
void feed_forward_forward(ConstMatrix x, const QuantizedExperts& weights, Matrix y);

}  // namespace unmask
