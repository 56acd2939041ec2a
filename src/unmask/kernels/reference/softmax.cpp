#include "unmask/kernels/reference/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace unmask::reference {

float softmax_row(std::span<const float> logits, std::span<float> p) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float z : logits) sum += std::exp(z - largest);
  const double log_sum = largest + std::log(sum);
  for (size_t i = 0; i < p.size(); ++i) p[i] = static_cast<float>(std::exp(logits[i] - log_sum));
  return static_cast<float>(log_sum);
}

Largest largest_of(std::span<const float> logits) {
  Largest largest = {-std::numeric_limits<float>::infinity(), 0};
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > largest.value) largest = {logits[i], static_cast<int64_t>(i)};
  }
  return largest;
}

ExpSums exp_sums(std::span<const float> logits, float offset, float scale) {
  ExpSums sums;
  for (const float z : logits) {
    const double x = (static_cast<double>(z) - offset) * scale, e = std::exp(x);
    sums.sum += e;
    if (e != 0) sums.weighted += e * x;
  }
  return sums;
}

void sigmoid_row(std::span<const float> x, std::span<float> y) {
  for (size_t i = 0; i < x.size(); ++i) {
    y[i] = static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(x[i]))));
  }
}

float dot_row(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return static_cast<float>(sum);
}

}  // namespace unmask::reference
