#pragma once

#include "unmask/base/arena.h"
#include "unmask/base/view.h"
#include "unmask/kernels/precision.h"

namespace unmask {

// Dense SwiGLU (Shazeer, arXiv 2002.05202): y += down · (silu(gate · x) * (up · x)); shared experts
// and dense layers.
struct FeedForwardWeights {
  ConstMatrix gate;  // [ffn, hidden]
  ConstMatrix up;    // [ffn, hidden]
  ConstMatrix down;  // [hidden, ffn]
};
struct FeedForwardGradients {
  Matrix gate, up, down;  // +=
};
struct FeedForwardSaved {
  Matrix gate;  // [tokens, ffn], before SiLU
  Matrix up;    // [tokens, ffn]
};

// x [tokens, hidden], y [tokens, hidden] +=. `saved` is taken from `tape` when given.
void feed_forward_forward(ConstMatrix x, const FeedForwardWeights& weights, Matrix y, Arena* tape,
                          FeedForwardSaved* saved, Precision precision);

// dx +=, gradients +=.
void feed_forward_backward(ConstMatrix x, const FeedForwardWeights& weights,
                           const FeedForwardSaved& saved, ConstMatrix dy, Matrix dx,
                           const FeedForwardGradients& gradients, Precision precision);

}  // namespace unmask
