#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/bf16.h"

namespace unmask {

// Loshchilov and Hutter, "Decoupled weight decay regularization" (arXiv 1711.05101). For each
// parameter p with gradient g, scaled first:
//   m = beta1 m + (1 - beta1) g             v = beta2 v + (1 - beta2) g^2
//   m' = m / (1 - beta1^step)               v' = v / (1 - beta2^step)
//   p -= learning_rate (m' / (sqrt(v') + epsilon) + weight_decay p)
struct AdamW {
  float learning_rate = 2e-4f;
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0.1f;    // decoupled, times the learning rate
  float gradient_scale = 1.0f;  // clipping and averaging: multiplies the gradient first
  int64_t step = 1;             // of this update, from 1 (bias correction)
};

// One update of a piece of the flat buffer. `rounded`, if given, becomes the parameters as bf16; it
// begins with a cache line.
void adamw_update(const AdamW& adamw, std::span<float> parameter, std::span<const float> gradient,
                  std::span<float> first_moment, std::span<float> second_moment,
                  std::span<bf16> rounded = {});

// Sum of squares in f64, in pieces of fixed size added in order: the same for any thread count.
double squared_norm(std::span<const float> values);

}  // namespace unmask
