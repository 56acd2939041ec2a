#include "unmask/kernels/reference/quantized.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

namespace unmask::reference {
namespace {

// The row as products see it: rounded to bf16, or scale * level.
std::vector<double> seen(const float* x, int64_t n, WeightFormat format) {
  std::vector<double> row(static_cast<size_t>(n));
  if (format == WeightFormat::bf16) {
    for (int64_t i = 0; i < n; ++i) row[i] = round_to_bf16(x[i]);
    return row;
  }
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return std::vector<double>(static_cast<size_t>(n), NAN);
    largest = std::max(largest, std::abs(x[i]));
  }
  if (largest < 127 * 0x1p-126f) return row;
  const float scale = largest / 127.0f, inverse = 127.0f / largest;
  for (int64_t i = 0; i < n; ++i) {
    row[i] = static_cast<double>(scale) * std::nearbyint(x[i] * inverse);
  }
  return row;
}

double dot(const QuantizedMatrix& w, int64_t i, const std::vector<double>& x) {
  double sum = 0;
  for (int64_t j = 0; j < w.shape.cols; ++j) sum += x[j] * weight(w, i, j);
  return sum;
}

}  // namespace

float weight(const QuantizedMatrix& w, int64_t i, int64_t j) {
  const QuantizedShape& s = w.shape;
  const std::byte* const tile = w.tile(i / 32);
  const auto byte = [&](int64_t step, int64_t place) {
    return static_cast<int32_t>(tile[step * 128 + i % 32 * 4 + place]);
  };
  if (s.format == WeightFormat::bf16) {
    return std::bit_cast<float>(
        static_cast<uint32_t>(byte(j / 2, j % 2 * 2) | byte(j / 2, j % 2 * 2 + 1) << 8) << 16);
  }
  const float scale = static_cast<float>(w.tile_scales(i / 32)[j / s.group * 32 + i % 32]);
  if (s.format == WeightFormat::int8) {
    return scale * static_cast<float>(byte(j / 4, j % 4) - 128);
  }
  const int32_t pair = byte(j / 8, j % 4);
  return scale * static_cast<float>((j % 8 < 4 ? pair & 15 : pair >> 4) - 8);
}

void linear_forward(ConstMatrix x, const QuantizedMatrix& w, ConstMatrix bias, Matrix y) {
  for (int64_t r = 0; r < y.rows; ++r) {
    const std::vector<double> row = seen(x.row(r), x.cols, w.shape.format);
    for (int64_t i = 0; i < y.cols; ++i) {
      y(r, i) = static_cast<float>(dot(w, i, row) + (bias.empty() ? 0.0 : bias(0, i)));
    }
  }
}

void experts_forward(ConstMatrix x, const QuantizedExperts& w, const Assignment& a, Matrix y) {
  const int64_t ffn = w.form.up.rows;
  std::vector<float> h(static_cast<size_t>(ffn));
  for (int32_t e = 0; e < a.experts; ++e) {
    for (int32_t slot = a.expert_begin[e]; slot < a.expert_begin[e + 1]; ++slot) {
      const int32_t t = a.token[slot];
      const std::vector<double> row = seen(x.row(t), x.cols, w.form.up.format);
      for (int64_t f = 0; f < ffn; ++f) {
        const double gate = dot(w.gate(e), f, row), up = dot(w.up(e), f, row);
        h[f] = static_cast<float>(a.gate[slot] * gate / (1.0 + std::exp(-gate)) * up);
      }
      const std::vector<double> hidden = seen(h.data(), ffn, w.form.down.format);
      for (int64_t j = 0; j < y.cols; ++j) {
        y(t, j) += static_cast<float>(dot(w.down(e), j, hidden));
      }
    }
  }
}

void feed_forward_forward(ConstMatrix x, const QuantizedFeedForward& weights, Matrix y) {
  Assignment all;
  all.experts = 1;
  all.tokens = static_cast<int32_t>(x.rows);
  all.expert_begin = {0, all.tokens};
  for (int32_t t = 0; t < all.tokens; ++t) all.token.push_back(t);
  all.finish();
  std::fill(all.gate.begin(), all.gate.end(), 1.0f);
  reference::experts_forward(x, {weights.form, {&weights.record, 1}}, all, y);
}

}  // namespace unmask::reference
