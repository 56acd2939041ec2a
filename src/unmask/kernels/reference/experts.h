#pragma once

#include "unmask/kernels/experts.h"

// The plain twin of kernels/experts.h: one slot at a time, f64 sums.
namespace unmask::reference {

void experts_forward(ConstMatrix x, const ExpertWeights& weights, const Assignment& assignment,
                     Matrix y, ExpertsSaved* saved, Precision precision);

void experts_backward(ConstMatrix x, const ExpertWeights& weights, const Assignment& assignment,
                      const ExpertsSaved& saved, ConstMatrix dy, Matrix dx, std::span<float> d_gate,
                      const ExpertGradients& gradients, Precision precision);

}  // namespace unmask::reference
