#include "unmask/kernels/reference/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <vector>

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

void confident_cross_entropy(Matrix logits, std::span<const int32_t> targets, float beta,
                             std::span<const float> weight, std::span<float> loss,
                             std::span<float> entropy) {
  std::vector<double> log_p(static_cast<size_t>(logits.cols));
  for (int64_t r = 0; r < logits.rows; ++r) {
    const double largest = *std::max_element(logits.row(r), logits.row(r) + logits.cols);
    const bool right = logits(r, targets[r]) == largest;
    double sum = 0, h = 0;
    for (int64_t j = 0; j < logits.cols; ++j) sum += std::exp(logits(r, j) - largest);
    for (int64_t j = 0; j < logits.cols; ++j) {
      log_p[j] = logits(r, j) - largest - std::log(sum);
      if (const double p = std::exp(log_p[j]); p > 0) h -= p * log_p[j];
    }
    loss[r] = static_cast<float>(-log_p[targets[r]]);
    entropy[r] = right ? static_cast<float>(h) : 0.0f;
    if (weight.empty()) continue;
    for (int64_t j = 0; j < logits.cols; ++j) {
      const double p = std::exp(log_p[j]);
      const double d_loss = p - (j == targets[r] ? 1 : 0);
      const double d_entropy = right && p > 0 ? -p * (log_p[j] + h) : 0.0;
      logits(r, j) = static_cast<float>(weight[r] * (d_loss + beta * d_entropy));
    }
  }
}

}  // namespace unmask::reference
