#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/view.h"
#include "unmask/kernels/rope.h"

// Plain twins of unmask/kernels/rope.h.
namespace unmask::reference {

void qk_norm_rope_forward(ConstMatrix x, ConstMatrix gain, float epsilon, const RopeTable& rope,
                          std::span<const int32_t> positions, int32_t head_dim, Matrix y,
                          Matrix inv_rms);
void qk_norm_rope_backward(ConstMatrix x, ConstMatrix gain, ConstMatrix inv_rms,
                           const RopeTable& rope, std::span<const int32_t> positions,
                           int32_t head_dim, ConstMatrix dy, Matrix dx, Matrix dgain);

}  // namespace unmask::reference
