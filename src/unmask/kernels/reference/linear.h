#pragma once

#include "unmask/base/view.h"
#include "unmask/kernels/precision.h"
#include "unmask/kernels/write.h"

// The plain twin of kernels/linear.h: same contracts, f64 sums.
namespace unmask::reference {

void linear_forward(ConstMatrix x, ConstMatrix w, ConstMatrix bias, Matrix y, Precision precision);
void linear_backward(ConstMatrix x, ConstMatrix w, ConstMatrix dy, Matrix dx, Matrix dw,
                     Matrix dbias, Write write_dx, Precision precision);

}  // namespace unmask::reference
