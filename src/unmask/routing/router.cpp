#include "unmask/routing/router.h"

#include <algorithm>
#include <vector>

#include "unmask/base/parallel.h"
#include "unmask/kernels/softmax.h"
#include "unmask/routing/balance.h"
#include "unmask/routing/pieces.h"
#include "unmask/routing/registry.h"
#include "unmask/routing/scaling.h"
#include "unmask/routing/scratch.h"
#include "unmask/routing/weighting.h"

namespace unmask {
namespace {

// z = the logits of what token t chose: of its slots, then of its dropped choices. Returns how
// many.
size_t gather_chosen(ConstMatrix logits, const Decision& decision, std::span<const int32_t> slots,
                     std::span<const int32_t> expert, int64_t t, std::span<float> z) {
  size_t n = 0;
  for (const int32_t slot : slots) z[n++] = logits(t, expert[slot]);
  for (const int32_t e : decision.dropped_of(t)) z[n++] = logits(t, e);
  return n;
}

// One selection, one weighting, any number of balance terms.
class ComposedRouter : public Router {
 public:
  ComposedRouter(const RoutingPolicy& policy, std::unique_ptr<Selector> selector,
                 std::vector<float> scale)
      : selector_(std::move(selector)),
        weighting_(make_weighting(policy)),
        balance_(make_balance_terms(policy)),
        scale_(std::move(scale)) {}

  void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
              Decision& decision) override {
    UNMASK_CHECK(logits.cols == std::ssize(scale_) - 1);
    UNMASK_CHECK(context.sequence_begin.back() == logits.rows);
    decision.clear();
    selector_->select(logits, context, assignment, decision);
  }

  void weigh_forward(ConstMatrix logits, const Decision& decision,
                     Assignment& assignment) override {
    ArenaScope scope(thread_scratch());
    const auto expert = experts_of_slots(assignment);
    parallel_pieces(assignment.tokens, rows_at_once(logits.cols), [&](int64_t begin, int64_t end) {
      ArenaScope piece_scope(thread_scratch());
      const auto chosen = take_scratch<float>(logits.cols),
                 weights = take_scratch<float>(logits.cols);
      for (int64_t t = begin; t < end; ++t) {
        const auto slots = assignment.slots_of(static_cast<int32_t>(t));
        if (slots.empty()) continue;
        const size_t n = gather_chosen(logits, decision, slots, expert, t, chosen);
        const auto w = weights.first(n);
        weighting_->forward(chosen.first(n), row_of(logits, t), w);
        const float scale = scale_[slots.size()];
        for (size_t i = 0; i < slots.size(); ++i) assignment.gate[slots[i]] = scale * w[i];
      }
    });
  }

  void weigh_backward(ConstMatrix logits, const Decision& decision, const Assignment& assignment,
                      std::span<const float> d_gate, Matrix d_logits) override {
    ArenaScope scope(thread_scratch());
    const auto expert = experts_of_slots(assignment);
    parallel_pieces(assignment.tokens, rows_at_once(logits.cols), [&](int64_t begin, int64_t end) {
      ArenaScope piece_scope(thread_scratch());
      const auto chosen = take_scratch<float>(logits.cols),
                 d_weights = take_scratch<float>(logits.cols),
                 d_chosen = take_scratch<float>(logits.cols);
      for (int64_t t = begin; t < end; ++t) {
        const auto slots = assignment.slots_of(static_cast<int32_t>(t));
        if (slots.empty()) continue;
        const size_t n = gather_chosen(logits, decision, slots, expert, t, chosen);
        const auto d_w = d_weights.first(n), d_z = d_chosen.first(n);
        const float scale = scale_[slots.size()];
        size_t i = 0;
        for (const int32_t slot : slots) d_w[i++] = scale * d_gate[slot];
        std::fill(d_w.begin() + static_cast<int64_t>(i), d_w.end(), 0.0f);  // dropped: no output
        weighting_->backward(chosen.first(n), row_of(logits, t), d_w, d_z, row_of(d_logits, t));
        i = 0;
        for (const int32_t slot : slots) d_logits(t, expert[slot]) += d_z[i++];
        for (const int32_t e : decision.dropped_of(t)) d_logits(t, e) += d_z[i++];
      }
    });
  }

  BalanceLoss balance(ConstMatrix logits, const RouteContext& context, const Decision& decision,
                      const Assignment& assignment, float scale, Matrix d_logits) override {
    BalanceLoss loss;
    if (balance_.empty()) return loss;
    for (const auto& [value, term] : balance_) term->prepare(context, decision, assignment);

    const auto terms = std::ssize(balance_);
    const int64_t grain = rows_at_once(logits.cols);
    const int64_t pieces = (logits.rows + grain - 1) / grain;
    ArenaScope scope(thread_scratch());
    const auto sums = take_scratch<double>(pieces * terms);
    std::fill(sums.begin(), sums.end(), 0.0);
    parallel_pieces(logits.rows, grain, [&](int64_t begin, int64_t end) {
      ArenaScope piece_scope(thread_scratch());
      const auto p = take_scratch<float>(logits.cols);
      const auto sum = sums.subspan(begin / grain * terms, terms);
      for (int64_t t = begin; t < end; ++t) {
        if (context.is_padding(t)) continue;
        const float log_sum_exp = softmax_row(row_of(logits, t), p);
        const auto d_row = d_logits.empty() ? std::span<float>() : row_of(d_logits, t);
        for (int64_t i = 0; i < terms; ++i) {
          sum[i] += balance_[i].term->token(t, p, log_sum_exp, scale, d_row);
        }
      }
    });
    for (int64_t i = 0; i < terms; ++i) {
      double total = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) total += sums[piece * terms + i];
      loss.*balance_[i].value = static_cast<float>(total);
    }
    return loss;
  }

  int64_t max_slots(int64_t tokens, int64_t sequence_length) const override {
    return selector_->max_slots(tokens, sequence_length);
  }

 private:
  std::unique_ptr<Selector> selector_;
  std::unique_ptr<Weighting> weighting_;
  std::vector<NamedTerm> balance_;
  std::vector<float> scale_;  // [experts + 1] by the number of experts of a token
};

Status check_loss_free(const RoutingPolicy& policy) {
  if (policy.balance.bias_rate == 0 && !policy.balance.reference) return {};
  if (chooser_of(policy) == Chooser::expert) {
    return usage_error(
        "routing.balance.bias_rate: a bias moves all logits of an expert alike and changes nothing "
        "where experts choose; expected 0 and reference = false");
  }
  if (policy.balance.reference && policy.weights == RoutingPolicy::Weights::sigmoid) {
    return usage_error(
        "routing.balance.reference: what the public code does is defined for softmax weights; "
        "expected weights = \"softmax\" or \"softmax-before\", or reference = false");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Router>> make_router(const RoutingPolicy& policy, int32_t experts,
                                            int32_t shared_experts) {
  if (policy.experts_per_token < 1 || policy.experts_per_token > experts) {
    return usage_error("routing.experts_per_token: expected 1 to {} (the experts), found {}",
                       experts, policy.experts_per_token);
  }
  constexpr float kMostScale = 1e6f;
  if (!(policy.scale > 0 && policy.scale <= kMostScale)) {
    return usage_error("routing.scale: expected a number above 0 and at most {}, found {}",
                       kMostScale, policy.scale);
  }
  if (policy.monte_carlo && shared_experts < 1) {
    return usage_error(
        "routing.scale: \"monte-carlo\" equals the routed experts to the shared ones, and there "
        "are none; expected a number");
  }
  UNMASK_TRY_STATUS(check_loss_free(policy));
  UNMASK_TRY(auto selector, entry_of(policy.policy).make(policy, experts));
  return std::unique_ptr<Router>(std::make_unique<ComposedRouter>(
      policy, std::move(selector), scaling_factors(policy, experts, shared_experts)));
}

}  // namespace unmask
