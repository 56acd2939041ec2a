// Included inside the namespace of an instruction set, after its lanes and rows.inl.h: the
// functions of norm_kernel.h.

namespace {

// 1 / sqrt(mean(x^2) + epsilon)
inline float inverse_rms(int64_t n, const float* x, float epsilon) {
  Vec squares[2] = {zero(), zero()};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const Vec a = load(x + i), b = load(x + i + kLanes);
    squares[0] += a * a;
    squares[1] += b * b;
  }
  for (; i < n; i += kLanes) {
    const Vec a = load_up_to(x + i, n - i);
    squares[0] += a * a;
  }
  const float mean = sum_of_lanes(squares[0] + squares[1]) / static_cast<float>(n);
  return 1.0f / __builtin_sqrtf(mean + epsilon);
}

float rms_norm_forward_row(int64_t n, const float* x, const float* gain, float epsilon, float* y) {
  const float s = inverse_rms(n, x, epsilon);
  for (int64_t i = 0; i < n; i += kLanes) {
    store_up_to(y + i, load_up_to(x + i, n - i) * s * load_up_to(gain + i, n - i), n - i);
  }
  return s;
}

void rms_norm_backward_row(int64_t n, const float* x, const float* gain, float inv_rms,
                           const float* dy, float* dx, float* dgain) {
  Vec dots = zero();
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec g = load_up_to(dy + i, n - i) * load_up_to(gain + i, n - i);
    dots += g * load_up_to(x + i, n - i);
  }
  const float pull = sum_of_lanes(dots) * inv_rms * inv_rms * inv_rms / static_cast<float>(n);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t rest = n - i;
    const Vec v = load_up_to(x + i, rest), g = load_up_to(dy + i, rest) * inv_rms;
    store_up_to(dx + i, load_up_to(dx + i, rest) + g * load_up_to(gain + i, rest) - pull * v, rest);
    if (dgain != nullptr) store_up_to(dgain + i, load_up_to(dgain + i, rest) + g * v, rest);
  }
}

void rotate_forward_row(const NormKernel::Heads& row, const float* x, float epsilon, float* y,
                        float* inv_rms) {
  const int64_t half = row.half;
  for (int64_t h = 0; h < row.heads; ++h, x += row.n, y += row.n) {
    const bool norm = row.gain != nullptr;
    const float s = norm ? inverse_rms(row.n, x, epsilon) : 1.0f;
    if (norm && inv_rms != nullptr) inv_rms[h] = s;
    const auto normed = [&](int64_t i, int64_t count) {
      const Vec v = load_up_to(x + i, count);
      return norm ? v * s * load_up_to(row.gain + i, count) : v;
    };
    for (int64_t i = 0; i < half; i += kLanes) {
      const int64_t rest = half - i;
      const Vec c = load_up_to(row.cosine + i, rest), t = load_up_to(row.sine + i, rest);
      const Vec a = normed(i, rest), b = normed(half + i, rest);
      store_up_to(y + i, a * c - b * t, rest);
      store_up_to(y + half + i, b * c + a * t, rest);
    }
    for (int64_t i = 2 * half; i < row.n; i += kLanes) {
      store_up_to(y + i, normed(i, row.n - i), row.n - i);
    }
  }
}

void rotate_backward_row(const NormKernel::Heads& row, const float* x, const float* inv_rms,
                         const float* dy, float* dx, float* dgain) {
  const int64_t half = row.half;
  for (int64_t h = 0; h < row.heads; ++h, dy += row.n, dx += row.n) {
    // dx is first the gradient of the norm's result.
    for (int64_t i = 0; i < half; i += kLanes) {
      const int64_t rest = half - i;
      const Vec c = load_up_to(row.cosine + i, rest), t = load_up_to(row.sine + i, rest);
      const Vec a = load_up_to(dy + i, rest), b = load_up_to(dy + half + i, rest);
      store_up_to(dx + i, a * c + b * t, rest);
      store_up_to(dx + half + i, b * c - a * t, rest);
    }
    for (int64_t i = 2 * half; i < row.n; i += kLanes) {
      store_up_to(dx + i, load_up_to(dy + i, row.n - i), row.n - i);
    }
    if (row.gain == nullptr) continue;

    const float* in = x + h * row.n;
    const float s = inv_rms[h];
    Vec dots = zero();
    for (int64_t i = 0; i < row.n; i += kLanes) {
      const int64_t rest = row.n - i;
      const Vec v = load_up_to(in + i, rest), g = load_up_to(dx + i, rest);
      dots += g * load_up_to(row.gain + i, rest) * v;
      if (dgain != nullptr) {
        store_up_to(dgain + i, load_up_to(dgain + i, rest) + g * v * s, rest);
      }
    }
    const float pull = sum_of_lanes(dots) * s * s * s / static_cast<float>(row.n);
    for (int64_t i = 0; i < row.n; i += kLanes) {
      const int64_t rest = row.n - i;
      const Vec g = load_up_to(dx + i, rest) * s * load_up_to(row.gain + i, rest);
      store_up_to(dx + i, g - pull * load_up_to(in + i, rest), rest);
    }
  }
}

}  // namespace

const NormKernel kNorm = {&rms_norm_forward_row, &rms_norm_backward_row, &rotate_forward_row,
                          &rotate_backward_row};
