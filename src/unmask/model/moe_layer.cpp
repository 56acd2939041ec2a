#include "unmask/model/moe_layer.h"

#include "unmask/kernels/dots.h"
#include "unmask/kernels/elementwise.h"
#include "unmask/kernels/linear.h"
#include "unmask/kernels/norm.h"

namespace unmask {
namespace {

RouteContext route_context(const LayerContext& context, ConstMatrix expert_bias) {
  RouteContext route = context.batch.route;
  if (!expert_bias.empty()) {
    route.expert_bias = {expert_bias.data, static_cast<size_t>(expert_bias.cols)};
  }
  return route;
}

void add_shared(const LayerContext& context, const MoeWeights& w, ConstMatrix normed, Matrix y,
                Arena* keep, MoeSaved& saved) {
  if (std::holds_alternative<std::monostate>(w.shared)) return;
  const ProfileScope time(context.profile.shared);
  if (const auto* packed = std::get_if<QuantizedFeedForward>(&w.shared)) {
    return feed_forward_forward(normed, *packed, y);
  }
  feed_forward_forward(normed, std::get<FeedForwardWeights>(w.shared), y, keep,
                       keep ? &saved.shared : nullptr, context.precision);
}

void add_experts(const LayerContext& context, const MoeWeights& w, ConstMatrix normed,
                 const Assignment& assignment, Matrix y, Arena* keep, MoeSaved& saved) {
  if (std::holds_alternative<std::monostate>(w.experts)) return;
  const ProfileScope time(context.profile.experts);
  if (const auto* packed = std::get_if<QuantizedExperts>(&w.experts)) {
    return experts_forward(normed, *packed, assignment, y);
  }
  if (const auto* cached = std::get_if<CachedExperts>(&w.experts)) {
    return experts_forward(normed, cached->cache->acquire(cached->layer, assignment.expert_begin),
                           assignment, y);
  }
  experts_forward(normed, std::get<ExpertWeights>(w.experts), assignment, y, keep,
                  keep ? &saved.experts : nullptr, context.precision);
}

}  // namespace

MoeGradients moe_gradients(const Parameters& gradients, int32_t layer, bool add_experts) {
  const ParameterLayout::Layer& index = gradients.layout().layers[layer];
  const auto view = [&](int i) { return i < 0 ? Matrix() : gradients[i]; };
  return {.norm = view(index.ffn_norm),
          .router = view(index.router),
          .experts = {view(index.expert_gate), view(index.expert_up), view(index.expert_down),
                      add_experts},
          .shared = {view(index.shared_gate), view(index.shared_up), view(index.shared_down)}};
}

void moe_layer_route(const LayerContext& context, const MoeWeights& w, Router& router,
                     ConstMatrix normed, Routing& routing) {
  const ProfileScope time(context.profile.router);
  const RouteContext route = route_context(context, w.expert_bias);
  dot_products(normed, w.router, routing.logits);
  router.select(routing.logits, route, routing.assignment, routing.decision);
  router.weigh_forward(routing.logits, routing.decision, routing.assignment);
  routing.balance = BalanceLoss();
  if (context.training) {
    routing.balance =
        router.balance(routing.logits, route, routing.decision, routing.assignment, 0.0f, {});
  }
}

void moe_layer_compute(const LayerContext& context, const MoeWeights& w, ConstMatrix normed,
                       const Assignment& assignment, Matrix y, Arena* keep, MoeSaved& saved) {
  add_shared(context, w, normed, y, keep, saved);
  add_experts(context, w, normed, assignment, y, keep, saved);
}

void moe_layer_backward(const LayerContext& context, const MoeWeights& w, Router* router,
                        ConstMatrix x, const Routing& routing, const MoeSaved& saved,
                        float balance_scale, Matrix d_x, Matrix work, const MoeGradients& d) {
  const ArenaScope scope(context.scratch);
  const Matrix normed = context.scratch.matrix(x.rows, x.cols);
  rms_norm_forward(x, w.norm, context.config.norm_epsilon, normed, {});

  // d_normed gathers what comes back through the shared expert, the routed ones and the router.
  const Matrix d_normed = work;
  fill(0.0f, d_normed);
  if (const auto* shared = std::get_if<FeedForwardWeights>(&w.shared)) {
    const ProfileScope time(context.profile.shared);
    feed_forward_backward(normed, *shared, saved.shared, d_x, d_normed, d.shared,
                          context.precision);
  }
  if (const auto* experts = std::get_if<ExpertWeights>(&w.experts)) {
    const Assignment& assignment = routing.assignment;
    const std::span<float> d_gate(context.scratch.take<float>(assignment.slots()),
                                  static_cast<size_t>(assignment.slots()));
    {
      const ProfileScope time(context.profile.experts);
      experts_backward(normed, *experts, assignment, saved.experts, d_x, d_normed, d_gate,
                       d.experts, context.precision);
    }
    const ProfileScope time(context.profile.router);
    const Matrix d_logits = context.scratch.matrix(routing.logits.rows, routing.logits.cols);
    fill(0.0f, d_logits);
    router->weigh_backward(routing.logits, routing.decision, assignment, d_gate, d_logits);
    router->balance(routing.logits, route_context(context, w.expert_bias), routing.decision,
                    assignment, balance_scale, d_logits);
    linear_backward(normed, w.router, d_logits, d_normed, d.router, {}, Write::add, Precision::f32);
  }
  rms_norm_backward(x, w.norm, saved.inv_rms, d_normed, d_x, d.norm);
}

}  // namespace unmask
