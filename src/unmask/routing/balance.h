#pragma once

#include <memory>
#include <span>
#include <vector>

#include "unmask/kernels/assignment.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/router.h"

namespace unmask {

// The third stage of a router: auxiliary losses, each a sum over tokens of a function of the
// token's router probabilities p = softmax over all experts. Padding has no part in them.
class BalanceTerm {
 public:
  virtual ~BalanceTerm() = default;
  // Once before the tokens of a forward pass.
  virtual void prepare(const RouteContext& context, const Decision& decision,
                       const Assignment& assignment) = 0;
  // One token's share of the loss, coefficient included; its gradient with respect to the token's
  // logits times `scale` is added to d_logits [experts] unless that is empty.
  virtual double token(int64_t t, std::span<const float> p, float log_sum_exp, float scale,
                       std::span<float> d_logits) const = 0;
};

// The groups of tokens among which load is to be even.
enum class LoadGroups { batch, sequence };

// coefficient * mean over groups g of E / (k n_g^2) * sum_e (sum over tokens of p_ne) * count_ge,
// counts before drops.
// One group of the whole batch: the switch loss (Switch Transformers, arXiv 2101.03961, with the
// normalisation of arXiv 2604.01622); a group for each sequence: the sequence loss.
std::unique_ptr<BalanceTerm> make_load_loss(float coefficient, int32_t experts_per_token,
                                            LoadGroups groups);

// coefficient * mean over tokens of logsumexp^2 (ST-MoE, arXiv 2202.08906).
std::unique_ptr<BalanceTerm> make_z_loss(float coefficient);

// The terms with a coefficient, and where their values go.
struct NamedTerm {
  float BalanceLoss::*value;
  std::unique_ptr<BalanceTerm> term;
};
std::vector<NamedTerm> make_balance_terms(const RoutingPolicy& policy);

}  // namespace unmask
