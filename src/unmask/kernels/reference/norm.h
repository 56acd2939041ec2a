#pragma once

#include "unmask/base/view.h"

// Plain twins of unmask/kernels/norm.h.
namespace unmask::reference {

void rms_norm_forward(ConstMatrix x, ConstMatrix gain, float epsilon, Matrix y, Matrix inv_rms);
void rms_norm_backward(ConstMatrix x, ConstMatrix gain, ConstMatrix inv_rms, ConstMatrix dy,
                       Matrix dx, Matrix dgain);

}  // namespace unmask::reference
