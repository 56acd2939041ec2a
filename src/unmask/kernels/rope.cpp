#include "unmask/kernels/rope.h"

#include <cmath>

#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/rope.h"
#include "unmask/kernels/row_sums.h"

namespace unmask {
namespace {

// Turns the pairs (v[i], v[i + half]) by +angle, or by -angle for the backward pass.
void rotate(float* v, const float* cosine, const float* sine, float direction, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float c = cosine[i], s = direction * sine[i];
    const float a = v[i], b = v[i + half];
    v[i] = a * c - b * s;
    v[i + half] = b * c + a * s;
  }
}

void check_shapes(ConstMatrix x, ConstMatrix gain, const RopeTable& rope,
                  std::span<const int32_t> positions, int32_t head_dim, ConstMatrix y) {
  UNMASK_CHECK(head_dim > 0 && x.cols % head_dim == 0 && rope.dims() <= head_dim);
  UNMASK_CHECK(gain.empty() || (gain.rows == 1 && gain.cols == head_dim));
  UNMASK_CHECK(std::ssize(positions) == x.rows && y.rows == x.rows && y.cols == x.cols);
}

}  // namespace

RopeTable::RopeTable(int32_t positions, int32_t dims, float theta)
    : positions_(positions), dims_(dims) {
  UNMASK_CHECK(dims % 2 == 0);
  const int32_t half = dims / 2;
  cos_.resize(static_cast<size_t>(positions) * half);
  sin_.resize(cos_.size());
  for (int32_t i = 0; i < half; ++i) {
    // f64, because the angle of a late position has few digits left in f32.
    const double frequency = std::pow(static_cast<double>(theta), -2.0 * i / dims);
    for (int32_t p = 0; p < positions; ++p) {
      cos_[static_cast<size_t>(p) * half + i] = static_cast<float>(std::cos(p * frequency));
      sin_[static_cast<size_t>(p) * half + i] = static_cast<float>(std::sin(p * frequency));
    }
  }
}

void qk_norm_rope_forward(ConstMatrix x, ConstMatrix gain, float epsilon, const RopeTable& rope,
                          std::span<const int32_t> positions, int32_t head_dim, Matrix y,
                          Matrix inv_rms) {
  check_shapes(x, gain, rope, positions, head_dim, y);
  const int64_t d = head_dim, heads = x.cols / d, half = rope.dims() / 2;
  UNMASK_CHECK(inv_rms.empty() || (inv_rms.rows == x.rows && inv_rms.cols == heads));
  if (use_reference_kernels()) {
    return reference::qk_norm_rope_forward(x, gain, epsilon, rope, positions, head_dim, y, inv_rms);
  }

  const bool norm = !gain.empty();
  const float* g = gain.data;
  parallel_pieces(x.rows, rows_per_piece(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* cosine = rope.cos_of(positions[r]);
      const float* sine = rope.sin_of(positions[r]);
      for (int64_t h = 0; h < heads; ++h) {
        const float* in = x.row(r) + h * d;
        float* out = y.row(r) + h * d;
        if (norm) {
          const float squares = lane_sum(d, [in](int64_t i) { return in[i] * in[i]; });
          const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(d) + epsilon);
          for (int64_t i = 0; i < d; ++i) out[i] = in[i] * inverse * g[i];
          if (!inv_rms.empty()) inv_rms(r, h) = inverse;
        } else if (in != out) {
          for (int64_t i = 0; i < d; ++i) out[i] = in[i];
        }
        rotate(out, cosine, sine, 1.0f, half);
      }
    }
  });
}

void qk_norm_rope_backward(ConstMatrix x, ConstMatrix gain, ConstMatrix inv_rms,
                           const RopeTable& rope, std::span<const int32_t> positions,
                           int32_t head_dim, ConstMatrix dy, Matrix dx, Matrix dgain) {
  check_shapes(dy, gain, rope, positions, head_dim, dx);
  const int64_t d = head_dim, heads = dy.cols / d, half = rope.dims() / 2;
  const bool norm = !gain.empty();
  UNMASK_CHECK(!norm || (x.rows == dy.rows && x.cols == dy.cols));
  UNMASK_CHECK(!norm || (inv_rms.rows == dy.rows && inv_rms.cols == heads));
  UNMASK_CHECK(dgain.empty() || (norm && dgain.rows == 1 && dgain.cols == d));
  if (use_reference_kernels()) {
    return reference::qk_norm_rope_backward(x, gain, inv_rms, rope, positions, head_dim, dy, dx,
                                            dgain);
  }

  const float* g = gain.data;
  for_rows_summing(dy.rows, dy.cols, dgain, [&](int64_t begin, int64_t end, float* gain_sum) {
    for (int64_t r = begin; r < end; ++r) {
      const float* cosine = rope.cos_of(positions[r]);
      const float* sine = rope.sin_of(positions[r]);
      for (int64_t h = 0; h < heads; ++h) {
        const float* dout = dy.row(r) + h * d;
        float* din = dx.row(r) + h * d;
        if (din != dout) {
          for (int64_t i = 0; i < d; ++i) din[i] = dout[i];
        }
        rotate(din, cosine, sine, -1.0f, half);  // din is now the gradient of the norm's result
        if (!norm) continue;
        const float* in = x.row(r) + h * d;
        const float inverse = inv_rms(r, h);
        const float along = lane_sum(d, [=](int64_t i) { return din[i] * g[i] * in[i]; });
        const float pull = along * inverse * inverse * inverse / static_cast<float>(d);
        if (gain_sum != nullptr) {
          for (int64_t i = 0; i < d; ++i) gain_sum[i] += din[i] * in[i] * inverse;
        }
        for (int64_t i = 0; i < d; ++i) din[i] = inverse * g[i] * din[i] - pull * in[i];
      }
    }
  });
}

}  // namespace unmask
