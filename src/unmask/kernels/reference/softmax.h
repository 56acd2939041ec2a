#pragma once

#include <span>

// The plain twin of kernels/softmax.h, in f64.
namespace unmask::reference {

float softmax_row(std::span<const float> logits, std::span<float> p);
void sigmoid_row(std::span<const float> x, std::span<float> y);
float dot_row(std::span<const float> a, std::span<const float> b);

}  // namespace unmask::reference
