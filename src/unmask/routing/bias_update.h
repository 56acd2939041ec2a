#pragma once

#include <cstdint>
#include <span>

#include "unmask/kernels/assignment.h"
#include "unmask/routing/decision.h"

namespace unmask {

// Loss-free balancing (arXiv 2408.15664): a selection bias that follows the load of its expert.

// load[e] += tokens that chose expert e, those that were dropped included.
void add_chosen_load(const Assignment& assignment, const Decision& decision,
                     std::span<int64_t> load);

// After an optimiser step: bias_e += rate * sign(mean load - load_e), load [experts] that of all
// micro-batches of the step.
void update_expert_bias(float rate, std::span<const int64_t> load, std::span<float> bias);

}  // namespace unmask
