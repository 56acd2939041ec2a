#pragma once

#include "unmask/base/view.h"
#include "unmask/kernels/precision.h"
#include "unmask/kernels/write.h"

namespace unmask {

// y = x·Wᵀ + b.  x [n, in], w [out, in], bias [1, out] or empty, y [n, out].
void linear_forward(ConstMatrix x, ConstMatrix w, ConstMatrix bias, Matrix y, Precision precision);

// dx = dy·W, or += (`write_dx`; skipped when empty), dw += dyᵀ·x, dbias += column sums
// (both skipped when empty).
void linear_backward(ConstMatrix x, ConstMatrix w, ConstMatrix dy, Matrix dx, Matrix dw,
                     Matrix dbias, Write write_dx, Precision precision);

}  // namespace unmask
