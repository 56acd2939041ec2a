#pragma once

#include <cstdint>

#include "unmask/base/bf16.h"

namespace unmask {

// What one update of AdamW is made of, once for the whole buffer:
//   g = gradient_scale * gradient
//   m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2
//   p = decay * p - rate * m / (sqrt(v) * root_scale + epsilon)
struct AdamWStep {
  float gradient_scale;
  float beta1, beta2;
  float decay;       // 1 - learning_rate * weight_decay
  float rate;        // learning_rate / (1 - beta1^step)
  float root_scale;  // 1 / sqrt(1 - beta2^step)
  float epsilon;
};

// Row kernels where exp or wide vectors matter. `n` is any length; pointers need no alignment.
struct ElementwiseKernel {
  // logsumexp(logits) - logits[target]; with `weight`, the logits become
  // *weight * (softmax(logits) - onehot(target)).
  float (*cross_entropy_row)(int64_t n, float* logits, int64_t target, const float* weight);

  // The same loss; *entropy = that of softmax(logits) where no logit is above the target's, else 0.
  // With `weight`, the logits become the gradient of *weight * (loss + beta * *entropy).
  float (*confident_cross_entropy_row)(int64_t n, float* logits, int64_t target, float beta,
                                       const float* weight, float* entropy);

  // rounded[i] = value[i] to the nearest bf16, past the caches; `rounded` is a multiple of a line.
  void (*copy_as_bf16)(int64_t n, const float* value, bf16* rounded);

  void (*adamw)(const AdamWStep& step, int64_t n, float* parameter, const float* gradient,
                float* first_moment, float* second_moment);
};

// Of the instruction set in use (isa.h).
const ElementwiseKernel& elementwise_kernel();

}  // namespace unmask
