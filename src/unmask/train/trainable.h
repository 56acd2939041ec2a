#pragma once

#include <cstdint>
#include <vector>

#include "unmask/model/parameters.h"

namespace unmask {

// What a run changes; everything else stays as it was, bit for bit (arXiv 2604.01622, section 5).
enum class Trainable { router, router_and_experts, all };

// For each parameter of the layout's table, whether the optimiser updates it: those that receive
// gradients, of them the routers, or the routers and the routed experts, or all.
std::vector<uint8_t> updated_parameters(const ParameterLayout& layout, Trainable trainable);

}  // namespace unmask
