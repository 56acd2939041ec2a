#pragma once

#include "unmask/base/view.h"

namespace unmask {

// RMSNorm (Zhang and Sennrich, arXiv 1910.07467): y = x / sqrt(mean(x^2) + epsilon) * gain.
// x, y [n, d], gain [1, d], inv_rms [n, 1] kept for the backward pass (may be empty).
void rms_norm_forward(ConstMatrix x, ConstMatrix gain, float epsilon, Matrix y, Matrix inv_rms);

// dx += (the residual branch has already put its gradient there), dgain += (skipped when empty).
void rms_norm_backward(ConstMatrix x, ConstMatrix gain, ConstMatrix inv_rms, ConstMatrix dy,
                       Matrix dx, Matrix dgain);

}  // namespace unmask
