#pragma once

#include <span>

#include "unmask/kernels/optimizer.h"

// Plain twins of unmask/kernels/optimizer.h.
namespace unmask::reference {

void adamw_update(const AdamW& adamw, std::span<float> parameter, std::span<const float> gradient,
                  std::span<float> first_moment, std::span<float> second_moment,
                  std::span<bf16> rounded);
double squared_norm(std::span<const float> values);

}  // namespace unmask::reference
