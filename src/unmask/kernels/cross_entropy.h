#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/view.h"

namespace unmask {

// For each row: loss[i] = logsumexp(logits[i]) - logits[i][target[i]] (nats). With `weight`
// non-empty the logits are overwritten by their gradient, weight[i] * (softmax - onehot).
void cross_entropy(Matrix logits, std::span<const int32_t> targets, std::span<const float> weight,
                   std::span<float> loss);

}  // namespace unmask
