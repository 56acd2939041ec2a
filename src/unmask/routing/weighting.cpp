#include "unmask/routing/weighting.h"

#include "unmask/base/check.h"
#include "unmask/routing/registry.h"

namespace unmask {

std::unique_ptr<Weighting> make_weighting(const RoutingPolicy& policy) {
  using Weights = RoutingPolicy::Weights;
  // LLaDA2's gate leaves the weight of a single expert as it is.
  const bool single = chooser_of(policy) == Chooser::token && policy.experts_per_token == 1;
  if (policy.balance.reference) return make_softmax_before_weighting();
  switch (policy.weights) {
    case Weights::softmax:
      return make_softmax_weighting();
    case Weights::softmax_before:
      // Renormalised over the chosen, the softmax over all is the softmax over the chosen.
      return policy.renormalize ? make_softmax_weighting() : make_softmax_before_weighting();
    case Weights::sigmoid:
      return policy.renormalize && !single ? make_normalized_sigmoid_weighting()
                                           : make_sigmoid_weighting();
  }
  check_failed("every kind of weights is known", __FILE__, __LINE__);
}

}  // namespace unmask
