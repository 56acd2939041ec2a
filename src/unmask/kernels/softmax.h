#pragma once

#include <cstdint>
#include <span>

namespace unmask {

// p = softmax(logits), of the same length; returns logsumexp(logits). May work in place.
float softmax_row(std::span<const float> logits, std::span<float> p);

// The largest of some logits and where it first stands. NaN is passed over; -infinity at 0 where
// there is nothing else.
struct Largest {
  float value;
  int64_t index;
};
Largest largest_of(std::span<const float> logits);

// Over all z, with x = scale (z - offset): the sums of e^x and of e^x x, in f64: shares of a whole
// vocabulary would be lost beside a 1.
struct ExpSums {
  double sum = 0;
  double weighted = 0;
};
ExpSums exp_sums(std::span<const float> logits, float offset, float scale = 1.0f);

// y = 1 / (1 + e^-x). May work in place.
void sigmoid_row(std::span<const float> x, std::span<float> y);

// sum of a[i] * b[i], in eight partial sums.
float dot_row(std::span<const float> a, std::span<const float> b);

}  // namespace unmask
