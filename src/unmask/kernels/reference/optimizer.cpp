#include "unmask/kernels/reference/optimizer.h"

#include <cmath>

namespace unmask::reference {

// Algorithm 2 of Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019), with
// the learning rate as schedule multiplier times alpha, and decay times the learning rate.
void adamw_update(const AdamW& adamw, std::span<float> parameter, std::span<const float> gradient,
                  std::span<float> first_moment, std::span<float> second_moment,
                  std::span<bf16> rounded) {
  const double rate = adamw.learning_rate, beta1 = adamw.beta1, beta2 = adamw.beta2;
  const double steps = static_cast<double>(adamw.step);
  for (size_t i = 0; i < parameter.size(); ++i) {
    const double g = double{adamw.gradient_scale} * gradient[i];
    const double m = beta1 * first_moment[i] + (1 - beta1) * g;
    const double v = beta2 * second_moment[i] + (1 - beta2) * g * g;
    const double m_hat = m / (1 - std::pow(beta1, steps));
    const double v_hat = v / (1 - std::pow(beta2, steps));
    const double p = parameter[i];
    parameter[i] = static_cast<float>(
        p - rate * (m_hat / (std::sqrt(v_hat) + adamw.epsilon) + adamw.weight_decay * p));
    first_moment[i] = static_cast<float>(m);
    second_moment[i] = static_cast<float>(v);
    if (!rounded.empty()) rounded[i] = bf16(parameter[i]);
  }
}

double squared_norm(std::span<const float> values) {
  double sum = 0;
  for (const float x : values) sum += double{x} * x;
  return sum;
}

}  // namespace unmask::reference
