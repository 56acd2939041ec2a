#pragma once

#include <span>

#include "unmask/kernels/softmax.h"

// The plain twin of kernels/softmax.h, in f64.
namespace unmask::reference {

float softmax_row(std::span<const float> logits, std::span<float> p);
Largest largest_of(std::span<const float> logits);
ExpSums exp_sums(std::span<const float> logits, float offset, float scale = 1.0f);
void sigmoid_row(std::span<const float> x, std::span<float> y);
float dot_row(std::span<const float> a, std::span<const float> b);

}  // namespace unmask::reference
