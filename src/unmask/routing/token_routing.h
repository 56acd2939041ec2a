#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "unmask/base/arena.h"
#include "unmask/base/result.h"
#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/router.h"
#include "unmask/routing/weighting.h"

namespace unmask {

// What every policy shares in which tokens choose: how one token chooses its k experts, and how the
// choices of all become an assignment.
class TokenRouting {
 public:
  explicit TokenRouting(const RoutingPolicy& policy);

  // The k = chosen.size() experts of largest score, of the kept groups when there are groups, in
  // any order; equal scores go to the lower expert.
  void choose(std::span<const float> logits, std::span<const float> bias,
              std::span<int32_t> chosen) const;
  // The same of the experts `allowed` (ascending, at least k) alone. Where the kept groups hold
  // fewer than k of them, the best of the other groups fill up.
  void choose_within(std::span<const float> logits, std::span<const float> bias,
                     std::span<const int32_t> allowed, std::span<int32_t> chosen) const;

  // Choices of a batch, in scratch memory of the calling thread: token t's experts, k of them
  // unless it is padding, are of(t). To be filled, then made an assignment.
  struct Choices {
    std::span<int32_t> begin;  // [tokens + 1]
    std::span<int32_t> expert;
    std::span<int32_t> of(int64_t t) const {
      return expert.subspan(begin[t], begin[t + 1] - begin[t]);
    }
  };
  Choices take_choices(const RouteContext& context, int64_t tokens) const;
  // Every choice a slot, or with [drop] those for which their expert has room.
  void assign(ConstMatrix logits, const RouteContext& context, const Choices& choices,
              Assignment& assignment, Decision& decision) const;

  int32_t k() const { return policy_.experts_per_token; }
  // The weights by which capacities and votes rank choices.
  const Weighting& weighting() const { return *weighting_; }

 private:
  RoutingPolicy policy_;
  std::unique_ptr<Weighting> weighting_;
};

// Refuses keys that do not fit a policy in which tokens choose.
Status check_token_routing(const RoutingPolicy& policy, int32_t experts);

// Refuses k = 1 where the weight of one expert is always 1 and the router would never learn.
Status check_learns(const RoutingPolicy& policy);

}  // namespace unmask
