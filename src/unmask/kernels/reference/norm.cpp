#include "unmask/kernels/reference/norm.h"

#include <cmath>

namespace unmask::reference {

void rms_norm_forward(ConstMatrix x, ConstMatrix gain, float epsilon, Matrix y, Matrix inv_rms) {
  for (int64_t r = 0; r < x.rows; ++r) {
    double squares = 0;
    for (int64_t i = 0; i < x.cols; ++i) squares += double{x(r, i)} * x(r, i);
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(x.cols) + epsilon);
    for (int64_t i = 0; i < x.cols; ++i)
      y(r, i) = static_cast<float>(x(r, i) * inverse * gain(0, i));
    if (!inv_rms.empty()) inv_rms(r, 0) = static_cast<float>(inverse);
  }
}

// With s = inv_rms and y_i = x_i s g_i:  ds/dx_j = -s^3 x_j / d, hence
//   dx_j = s g_j dy_j - x_j s^3 / d * sum_i dy_i g_i x_i.
void rms_norm_backward(ConstMatrix x, ConstMatrix gain, ConstMatrix inv_rms, ConstMatrix dy,
                       Matrix dx, Matrix dgain) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const double s = inv_rms(r, 0);
    double along = 0;
    for (int64_t i = 0; i < x.cols; ++i) along += double{dy(r, i)} * gain(0, i) * x(r, i);
    const double pull = s * s * s * along / static_cast<double>(x.cols);
    for (int64_t i = 0; i < x.cols; ++i) {
      dx(r, i) += static_cast<float>(s * gain(0, i) * dy(r, i) - pull * x(r, i));
    }
  }
  if (dgain.empty()) return;
  for (int64_t i = 0; i < x.cols; ++i) {
    double sum = 0;
    for (int64_t r = 0; r < x.rows; ++r) sum += double{dy(r, i)} * x(r, i) * inv_rms(r, 0);
    dgain(0, i) += static_cast<float>(sum);
  }
}

}  // namespace unmask::reference
