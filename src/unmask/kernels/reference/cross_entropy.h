#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/view.h"

// Plain twin of unmask/kernels/cross_entropy.h.
namespace unmask::reference {

void cross_entropy(Matrix logits, std::span<const int32_t> targets, std::span<const float> weight,
                   std::span<float> loss);

}  // namespace unmask::reference
