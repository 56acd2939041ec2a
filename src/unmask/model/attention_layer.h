#pragma once

#include "unmask/base/arena.h"
#include "unmask/base/view.h"
#include "unmask/model/layer_context.h"
#include "unmask/model/parameters.h"
#include "unmask/model/weights.h"

namespace unmask {

// One layer's views into the parameters, or into the gradients; empty = absent.
struct AttentionParameters {
  Matrix norm;      // [1, hidden]
  Matrix qkv;       // [(heads + 2 kv_heads) d, hidden]
  Matrix qkv_bias;  // [1, (heads + 2 kv_heads) d]
  Matrix q_norm;    // [1, d]
  Matrix k_norm;    // [1, d]
  Matrix out;       // [hidden, heads d]
  Matrix out_bias;  // [1, hidden]
};
AttentionParameters attention_parameters(const Parameters& parameters, int32_t layer);

// What the backward pass needs besides the input. The normed input, q and k are made again from
// these, bit for bit: two passes over memory, for a third of the attention's part of the tape.
struct AttentionSaved {
  Matrix inv_rms;      // [N, 1]
  Matrix qkv;          // [N, (heads + 2 kv_heads) d] before QK-norm and RoPE
  Matrix attended;     // [N, heads d]
  Matrix log_sum_exp;  // [N, heads]
};

// y = x + attention(norm(x)); x, y [N, hidden]. `saved` is taken from `keep`, which may be the
// scratch of the context. `layer` says whose keys and values of the caches these are.
void attention_layer_forward(const LayerContext& context, int32_t layer,
                             const AttentionWeights& weights, ConstMatrix x, Matrix y, Arena& keep,
                             AttentionSaved& saved);

// d_x [N, hidden]: on entry the gradient of y, on return that of x. `work` [N, hidden] is
// overwritten. Gradients +=.
void attention_layer_backward(const LayerContext& context, const AttentionParameters& parameters,
                              ConstMatrix x, const AttentionSaved& saved, Matrix d_x, Matrix work,
                              const AttentionParameters& gradients);

}  // namespace unmask
