#pragma once

#include <vector>

#include "unmask/base/arena.h"
#include "unmask/kernels/assignment.h"
#include "unmask/kernels/experts.h"
#include "unmask/kernels/feed_forward.h"
#include "unmask/routing/router.h"

namespace unmask {

// What a forward pass leaves behind: activations for the backward pass, and, in every mode, the
// assignments and router logits that statistics and tests look at. Reused from step to step.
struct Tape {
  enum class Mode { training, inference };
  Mode mode = Mode::training;

  struct Layer {
    Matrix input;         // [N, hidden] residual stream into the layer
    Matrix attention_inv_rms;  // [N, 1]
    Matrix attention_in;  // [N, hidden] normed
    Matrix qkv;           // [N, (heads + 2 kv_heads) d] before norm and RoPE
    Matrix q, k;          // [N, heads d], [N, kv_heads d] after norm and RoPE
    Matrix q_inv_rms, k_inv_rms;  // [N, heads], [N, kv_heads]
    Matrix attended;      // [N, heads d]
    Matrix log_sum_exp;   // [N, heads]
    Matrix middle;        // [N, hidden] residual stream between attention and feed-forward
    Matrix ffn_inv_rms;   // [N, 1]
    Matrix ffn_in;        // [N, hidden] normed
    Matrix router_logits; // [N, experts]
    Assignment assignment;
    BalanceLoss balance;
    ExpertsSaved experts;
    FeedForwardSaved shared;
  };
  std::vector<Layer> layers;
  Matrix output;          // [N, hidden] residual stream after the last layer
  Matrix final_inv_rms;   // [N, 1]
  Matrix hidden;          // [N, hidden] after the final norm

  Arena arena;            // of all of the above
  Arena scratch;          // of the backward pass and of recomputation

  void reset() {
    arena.reset();
    scratch.reset();
  }
};

}  // namespace unmask
