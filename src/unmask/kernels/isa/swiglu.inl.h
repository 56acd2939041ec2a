// Included inside the namespace of an instruction set, after its lanes and vector_exp.

namespace {

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + vector_exp(-x)); }

// body(first, live) for each vector of [0, n), the last possibly short.
template <class Body>
inline __attribute__((always_inline)) void for_vectors(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    body([i](const float* p) { return load(p + i); }, [i](float* p, Vec v) { store(p + i, v); });
  }
  if (const int64_t rest = n - i; rest > 0) {
    body([i, rest](const float* p) { return load_partial(p + i, rest); },
         [i, rest](float* p, Vec v) { store_partial(p + i, v, rest); });
  }
}

void swiglu_forward(int64_t n, const float* gate, const float* up, float weight, float* h) {
  for_vectors(n, [&](auto get, auto put) {
    const Vec g = get(gate);
    put(h, g * sigmoid(g) * get(up) * weight);
  });
}

float swiglu_backward(int64_t n, const float* gate, const float* up, const float* dh, float weight,
                      float* d_gate, float* d_up, float* weighted_h) {
  Vec dot = zero();
  for_vectors(n, [&](auto get, auto put) {
    const Vec g = get(gate), u = get(up), d = get(dh);
    const Vec s = sigmoid(g);
    const Vec silu = g * s;
    const Vec weighted = d * weight;
    dot += d * silu * u;
    put(d_gate, weighted * u * (s + silu * (1.0f - s)));
    put(d_up, weighted * silu);
    put(weighted_h, silu * u * weight);
  });
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += dot[i];
  return sum;
}

}  // namespace
