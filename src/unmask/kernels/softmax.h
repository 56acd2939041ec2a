#pragma once

#include <span>

namespace unmask {

// p = softmax(logits), of the same length; returns logsumexp(logits). May work in place.
float softmax_row(std::span<const float> logits, std::span<float> p);

// y = 1 / (1 + e^-x). May work in place.
void sigmoid_row(std::span<const float> x, std::span<float> y);

// sum of a[i] * b[i], in eight partial sums.
float dot_row(std::span<const float> a, std::span<const float> b);

}  // namespace unmask
