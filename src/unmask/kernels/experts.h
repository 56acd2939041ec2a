#pragma once

#include <span>

#include "unmask/base/arena.h"
#include "unmask/base/bf16.h"
#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"
#include "unmask/kernels/precision.h"

namespace unmask {

// Routed SwiGLU experts (Shazeer, arXiv 2002.05202) as one operation over an Assignment:
//   y[t] += sum over slots s of token t of gate[s] * down_e · (silu(gate_e · x[t]) * (up_e · x[t]))
// A dense or shared feed-forward is the same with one expert that takes every token
// (feed_forward.h).
template <class T>
struct ExpertMatrices {
  View<const T> gate;  // [experts * ffn, hidden]
  View<const T> up;    // [experts * ffn, hidden]
  View<const T> down;  // [experts * hidden, ffn]
};
struct ExpertWeights : ExpertMatrices<float> {
  // The same rounded to bf16, or empty: what Precision::bf16 then reads instead, half as much, with
  // the same results to the bit.
  ExpertMatrices<bf16> rounded = {};
};
struct ExpertGradients {
  Matrix gate, up, down;  // shapes as above
  bool add = true;        // +=; else =, and zero where an expert has no tokens
};

// What the forward pass keeps for the backward pass, by slot.
struct ExpertsSaved {
  Matrix gate;  // [slots, ffn] gate_e · x, before SiLU
  Matrix up;    // [slots, ffn] up_e · x
};

// y [tokens, hidden] +=. `saved` is taken from `tape` when given, else nothing is kept.
void experts_forward(ConstMatrix x, const ExpertWeights& weights, const Assignment& assignment,
                     Matrix y, Arena* tape, ExpertsSaved* saved, Precision precision);

// dx [tokens, hidden] +=, d_gate [slots] =, gradients += or =.
void experts_backward(ConstMatrix x, const ExpertWeights& weights, const Assignment& assignment,
                      const ExpertsSaved& saved, ConstMatrix dy, Matrix dx, std::span<float> d_gate,
                      const ExpertGradients& gradients, Precision precision);

}  // namespace unmask
