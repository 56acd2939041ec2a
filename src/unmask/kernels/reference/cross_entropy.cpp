#include "unmask/kernels/reference/cross_entropy.h"

#include <algorithm>
#include <cmath>

namespace unmask::reference {

void cross_entropy(Matrix logits, std::span<const int32_t> targets, std::span<const float> weight,
                   std::span<float> loss) {
  for (int64_t r = 0; r < logits.rows; ++r) {
    const double largest = *std::max_element(logits.row(r), logits.row(r) + logits.cols);
    double sum = 0;
    for (int64_t j = 0; j < logits.cols; ++j) sum += std::exp(logits(r, j) - largest);
    const double log_sum = largest + std::log(sum);
    loss[r] = static_cast<float>(log_sum - logits(r, targets[r]));
    if (weight.empty()) continue;
    for (int64_t j = 0; j < logits.cols; ++j) {
      const double softmax = std::exp(logits(r, j) - log_sum);
      logits(r, j) = static_cast<float>(weight[r] * (softmax - (j == targets[r] ? 1 : 0)));
    }
  }
}

}  // namespace unmask::reference
