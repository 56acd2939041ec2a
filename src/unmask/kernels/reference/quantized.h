#pragma once

#include "unmask/kernels/quantized_experts.h"
#include "unmask/kernels/quantized_linear.h"

// The plain twins of kernels/quantized_matrix.h, quantized_linear.h and quantized_experts.h: one
// weight and one slot at a time, f64 sums.
namespace unmask::reference {

// The weight (i, j) that a packed matrix stands for.
float weight(const QuantizedMatrix& w, int64_t i, int64_t j);

void linear_forward(ConstMatrix x, const QuantizedMatrix& w, ConstMatrix bias, Matrix y);

void experts_forward(ConstMatrix x, const QuantizedExperts& weights, const Assignment& assignment,
                     Matrix y);

void feed_forward_forward(ConstMatrix x, const QuantizedFeedForward& weights, Matrix y);

}  // namespace unmask::reference
