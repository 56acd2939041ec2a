#pragma once

#include "unmask/base/arena.h"
#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"
#include "unmask/kernels/experts.h"
#include "unmask/kernels/feed_forward.h"
#include "unmask/model/layer_context.h"
#include "unmask/model/parameters.h"
#include "unmask/model/weights.h"
#include "unmask/routing/router.h"

namespace unmask {

// One layer's views into the gradients; empty = absent. A dense layer has only the norm and
// `shared`.
struct MoeGradients {
  Matrix norm;    // [1, hidden]
  Matrix router;  // [experts, hidden]
  ExpertGradients experts;
  FeedForwardGradients shared;
};
MoeGradients moe_gradients(const Parameters& gradients, int32_t layer, bool add_experts);

// Who computes what: kept in every mode, for statistics and for the backward pass.
struct Routing {
  Matrix logits;  // [N, experts]
  Assignment assignment;
  Decision decision;
  BalanceLoss balance;  // training only
};

// What else the backward pass needs besides the input; the normed input is made again.
struct MoeSaved {
  Matrix inv_rms;  // [N, 1]
  ExpertsSaved experts;
  FeedForwardSaved shared;
};

// Fills `routing` (whose logits have their memory) from the normed input, always in f32.
void moe_layer_route(const LayerContext& context, const MoeWeights& weights, Router& router,
                     ConstMatrix normed, Routing& routing);

// y += shared(normed) + sum of gate * expert(normed) over each token's experts. The activations
// are taken from `keep` when given (packed weights keep none), else nothing is kept.
void moe_layer_compute(const LayerContext& context, const MoeWeights& weights, ConstMatrix normed,
                       const Assignment& assignment, Matrix y, Arena* keep, MoeSaved& saved);

// Through the norm and both: d_x [N, hidden] is the gradient of x + y on entry, and that of x on
// return. `work` [N, hidden] is overwritten. Gradients +=, of experts as they say, auxiliary losses
// included, scaled by `balance_scale`. `router` is null for a dense layer.
void moe_layer_backward(const LayerContext& context, const MoeWeights& weights, Router* router,
                        ConstMatrix x, const Routing& routing, const MoeSaved& saved,
                        float balance_scale, Matrix d_x, Matrix work,
                        const MoeGradients& gradients);

}  // namespace unmask
