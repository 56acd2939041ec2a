#pragma once

#include "unmask/base/result.h"
#include "unmask/base/view.h"
#include "unmask/routing/router.h"

namespace unmask {

// What a router relies on, for logits and contexts that come from outside (files, other programs):
// finite logits and biases, sequences that cover the rows and are not empty, mask ratios in [0, 1],
// vectors of the right length. A usage error names what is wrong, where, and what is permitted.
Status check_routing_input(ConstMatrix logits, const RouteContext& context);

}  // namespace unmask
