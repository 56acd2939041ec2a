#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "unmask/base/result.h"
#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"
#include "unmask/routing/decision.h"
#include "unmask/routing/policy.h"

namespace unmask {

// What a policy may look at besides the logits. Rows of the logits are tokens, the sequences of a
// batch one after the other.
struct RouteContext {
  std::span<const int32_t> sequence_begin;  // [sequences + 1], rows of sequence b
  std::span<const float> mask_ratio;        // [sequences], realised: masked / length
  std::span<const uint8_t> masked;          // [tokens] or empty: 1 = the token is masked
  std::span<const uint8_t> padding;         // [tokens] or empty: 1 = never routed
  std::span<const int32_t> position;        // [tokens] or empty: in its sequence, else its rows
                                            // count from 0; what blocks are cut by (blocks.h)
  std::span<const float> expert_bias;       // [experts] or empty: added to the score for selection

  bool is_padding(int64_t token) const { return !padding.empty() && padding[token] != 0; }
  // Of the rows [begin, end), those that are no padding.
  int64_t routed_tokens(int64_t begin, int64_t end) const {
    int64_t count = 0;
    for (int64_t t = begin; t < end; ++t) count += !is_padding(t);
    return count;
  }
  int32_t sequences() const { return static_cast<int32_t>(sequence_begin.size()) - 1; }
};

// Auxiliary losses, already multiplied by their coefficients.
struct BalanceLoss {
  float switch_loss = 0;
  float sequence_loss = 0;
  float z_loss = 0;
  float total() const { return switch_loss + sequence_loss + z_loss; }
};

// A routing policy in three stages (docs/routing). One object serves one layer: it may keep
// buffers, but no state that changes a result. Logits are [tokens, experts], f32.
class Router {
 public:
  virtual ~Router() = default;

  // Not differentiable: fills `assignment`, gates zero, and `decision`, which the other stages
  // read.
  virtual void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
                      Decision& decision) = 0;

  // Differentiable: gates from the logits of the selected slots, and back. The weights are those of
  // all that a token chose, dropped choices included.
  // d_gate: [slots]; d_logits: [tokens, experts], +=.
  virtual void weigh_forward(ConstMatrix logits, const Decision& decision,
                             Assignment& assignment) = 0;
  virtual void weigh_backward(ConstMatrix logits, const Decision& decision,
                              const Assignment& assignment, std::span<const float> d_gate,
                              Matrix d_logits) = 0;

  // Auxiliary losses; their gradients times `scale` are added to d_logits unless it is empty. Loads
  // are counted before drops.
  virtual BalanceLoss balance(ConstMatrix logits, const RouteContext& context,
                              const Decision& decision, const Assignment& assignment, float scale,
                              Matrix d_logits) = 0;

  // The most slots that `select` may make for this many tokens in sequences of this length.
  virtual int64_t max_slots(int64_t tokens, int64_t sequence_length) const = 0;
};

// The router that a policy describes, or why it cannot be: k > experts, groups that do not divide…
// `shared_experts`: how many of them run beside the routed ones (Monte-Carlo scaling), 0 = none.
Result<std::unique_ptr<Router>> make_router(const RoutingPolicy& policy, int32_t experts,
                                            int32_t shared_experts);

}  // namespace unmask
