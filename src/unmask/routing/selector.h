#pragma once

#include <cstdint>

#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"
#include "unmask/routing/router.h"

namespace unmask {

// The first stage of a router (router.h): which experts compute which tokens. Not differentiable.
// `decision` comes empty.
class Selector {
 public:
  virtual ~Selector() = default;
  virtual void select(ConstMatrix logits, const RouteContext& context, Assignment& assignment,
                      Decision& decision) const = 0;
  virtual int64_t max_slots(int64_t tokens, int64_t sequence_length) const = 0;
};

}  // namespace unmask
