#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "unmask/routing/router.h"

namespace unmask {

// Weights in [low, high).
struct WeightRange {
  float low = 0;
  float high = 0;
  bool contains(float weight) const { return weight >= low && weight < high; }
};

// What a LeftOutRouter saw and did.
struct LeftOut {
  int64_t tokens = 0;
  int64_t slots = 0;      // whose expert was left out
  double weight_sum = 0;  // of those
};

// A router whose experts do not count where a token gave them a weight in a range: the weights of
// its other experts stay as they are. Forward only.
class LeftOutRouter final : public Router {
 public:
  // `range` and `left_out` outlive it; an empty range leaves nothing out.
  LeftOutRouter(std::unique_ptr<Router> router, const WeightRange& range, LeftOut& left_out)
      : router_(std::move(router)), range_(range), left_out_(left_out) {}

  void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
              Decision& decision) override {
    router_->select(logits, context, assignment, decision);
  }
  void weigh_forward(ConstMatrix logits, const Decision& decision, Assignment& assignment) override;
  void weigh_backward(ConstMatrix logits, const Decision& decision, const Assignment& assignment,
                      std::span<const float> d_gate, Matrix d_logits) override;
  BalanceLoss balance(ConstMatrix logits, const RouteContext& context, const Decision& decision,
                      const Assignment& assignment, float scale, Matrix d_logits) override {
    return router_->balance(logits, context, decision, assignment, scale, d_logits);
  }
  int64_t max_slots(int64_t tokens, int64_t sequence_length) const override {
    return router_->max_slots(tokens, sequence_length);
  }

 private:
  std::unique_ptr<Router> router_;
  const WeightRange& range_;
  LeftOut& left_out_;
};

}  // namespace unmask
