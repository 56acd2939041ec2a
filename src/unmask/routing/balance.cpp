#include "unmask/routing/balance.h"

namespace unmask {

std::vector<NamedTerm> make_balance_terms(const RoutingPolicy& policy) {
  const float switch_loss = policy.balance.switch_loss,
              sequence_loss = policy.balance.sequence_loss, z_loss = policy.balance.z_loss;
  const int32_t k = policy.experts_per_token;
  std::vector<NamedTerm> terms;
  if (switch_loss != 0) {
    terms.push_back({&BalanceLoss::switch_loss, make_load_loss(switch_loss, k, LoadGroups::batch)});
  }
  if (sequence_loss != 0) {
    terms.push_back(
        {&BalanceLoss::sequence_loss, make_load_loss(sequence_loss, k, LoadGroups::sequence)});
  }
  if (z_loss != 0) terms.push_back({&BalanceLoss::z_loss, make_z_loss(z_loss)});
  return terms;
}

}  // namespace unmask
