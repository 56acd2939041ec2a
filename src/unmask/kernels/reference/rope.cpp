#include "unmask/kernels/reference/rope.h"

#include <cmath>
#include <vector>

namespace unmask::reference {
namespace {

// Element i of a head after rotation of the first rope.dims() by `direction` times the angle.
double rotated(const std::vector<double>& v, const RopeTable& rope, int32_t position,
               double direction, int32_t i) {
  const int32_t half = rope.dims() / 2;
  if (i >= 2 * half) return v[i];
  const double c = rope.cos_of(position)[i % half];
  const double s = direction * rope.sin_of(position)[i % half];
  return i < half ? v[i] * c - v[i + half] * s : v[i] * c + v[i - half] * s;
}

}  // namespace

void qk_norm_rope_forward(ConstMatrix x, ConstMatrix gain, float epsilon, const RopeTable& rope,
                          std::span<const int32_t> positions, int32_t head_dim, Matrix y,
                          Matrix inv_rms) {
  std::vector<double> normed(head_dim);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t first = 0; first < x.cols; first += head_dim) {
      double squares = 0;
      for (int32_t i = 0; i < head_dim; ++i) squares += double{x(r, first + i)} * x(r, first + i);
      const double s = 1 / std::sqrt(squares / head_dim + epsilon);
      for (int32_t i = 0; i < head_dim; ++i) {
        normed[i] = gain.empty() ? x(r, first + i) : x(r, first + i) * s * gain(0, i);
      }
      for (int32_t i = 0; i < head_dim; ++i) {
        y(r, first + i) = static_cast<float>(rotated(normed, rope, positions[r], 1, i));
      }
      if (!gain.empty() && !inv_rms.empty()) inv_rms(r, first / head_dim) = static_cast<float>(s);
    }
  }
}

// The rotation is orthogonal, so its gradient is the rotation back; the norm as in norm.cpp.
void qk_norm_rope_backward(ConstMatrix x, ConstMatrix gain, ConstMatrix inv_rms,
                           const RopeTable& rope, std::span<const int32_t> positions,
                           int32_t head_dim, ConstMatrix dy, Matrix dx, Matrix dgain) {
  std::vector<double> turned(head_dim), g(head_dim), gain_sum(head_dim);
  for (int64_t r = 0; r < dy.rows; ++r) {
    for (int64_t first = 0; first < dy.cols; first += head_dim) {
      for (int32_t i = 0; i < head_dim; ++i) turned[i] = dy(r, first + i);
      for (int32_t i = 0; i < head_dim; ++i) g[i] = rotated(turned, rope, positions[r], -1, i);
      if (gain.empty()) {
        for (int32_t i = 0; i < head_dim; ++i) dx(r, first + i) = static_cast<float>(g[i]);
        continue;
      }
      const double s = inv_rms(r, first / head_dim);
      double along = 0;
      for (int32_t i = 0; i < head_dim; ++i) along += g[i] * gain(0, i) * x(r, first + i);
      const double pull = s * s * s * along / head_dim;
      for (int32_t i = 0; i < head_dim; ++i) {
        gain_sum[i] += g[i] * x(r, first + i) * s;
        dx(r, first + i) = static_cast<float>(s * gain(0, i) * g[i] - pull * x(r, first + i));
      }
    }
  }
  for (int64_t i = 0; i < dgain.cols; ++i) dgain(0, i) += static_cast<float>(gain_sum[i]);
}

}  // namespace unmask::reference
