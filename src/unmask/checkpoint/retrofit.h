#pragma once

#include <string>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"

namespace unmask {

// Writes `out`: the model of the checkpoint directory `from` with another routing policy and the
// same weights, those of the routers included (arXiv 2604.01622, section 5). Only the `unmask`
// section of config.json differs; weights are linked, or copied where the file system cannot link,
// all other files copied. The state of a training run stays behind. Refuses an `out` that exists,
// weights that do not fit config.json, and policies that do not fit the model.
Status retrofit(const std::string& from, const std::string& out, const RoutingPolicy& policy);

}  // namespace unmask
