#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/view.h"

// Plain twin of unmask/kernels/cross_entropy.h.
namespace unmask::reference {

void cross_entropy(Matrix logits, std::span<const int32_t> targets, std::span<const float> weight,
                   std::span<float> loss);
void confident_cross_entropy(Matrix logits, std::span<const int32_t> targets, float beta,
                             std::span<const float> weight, std::span<float> loss,
                             std::span<float> entropy);

}  // namespace unmask::reference
