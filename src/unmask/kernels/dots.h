#pragma once

#include "unmask/base/view.h"

namespace unmask {

// y(i, j) = x_i · w_j, the product x·Wᵀ for a W that is read about once, like a router's: both are
// read as they lie, where linear_forward would pack them first. x [n, k], w [out, k], y [n, out].
// Each y(i, j) is summed in the same order whatever n and out are.
void dot_products(ConstMatrix x, ConstMatrix w, Matrix y);

}  // namespace unmask
