#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/view.h"

namespace unmask {

// For each row: loss[i] = logsumexp(logits[i]) - logits[i][target[i]] (nats). With `weight`
// non-empty the logits are overwritten by their gradient, weight[i] * (softmax - onehot).
void cross_entropy(Matrix logits, std::span<const int32_t> targets, std::span<const float> weight,
                   std::span<float> loss);

// The same with the confidence term of dParallel (arXiv 2509.26488; LLaDA2's CAP): where no logit
// is above the target's, so that the prediction is right, entropy[i] is that of softmax(logits[i])
// (nats), elsewhere 0. With `weight` non-empty the logits are overwritten by the gradient of
// weight[i] * (loss[i] + beta * entropy[i]); whether a prediction is right has none. With
// p = softmax(z) and H its entropy:  dH / dz_j = -p_j (log p_j + H).
void confident_cross_entropy(Matrix logits, std::span<const int32_t> targets, float beta,
                             std::span<const float> weight, std::span<float> loss,
                             std::span<float> entropy);

}  // namespace unmask
