#pragma once

#include "unmask/base/view.h"
#include "unmask/kernels/quantized_matrix.h"

namespace unmask {

// y = x·Wᵀ + b with packed weights, for few rows: the weights are read from memory once.
// x [n, in], w [out, in], bias [1, out] or empty, y [n, out].
//   bf16        x is rounded to bf16; sums are f32
//   int8, int4  each row of x becomes levels -127..127 with one scale (largest |x| / 127); dot
//               products of a group are exact integers; groups are added in f32:
//               y = x_scale * sum over groups of w_scale * (levels · levels)
// A row of x that is not finite gives a row of y that is not.
void linear_forward(ConstMatrix x, const QuantizedMatrix& w, ConstMatrix bias, Matrix y);

}  // namespace unmask
