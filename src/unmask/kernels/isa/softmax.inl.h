// Included inside the namespace of an instruction set, after its lanes: the loops of
// softmax_kernel.h.

namespace {

// The second argument where either is NaN.
#ifdef __AVX512F__
inline Vec maximum(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec ceiling(Vec v) { return _mm512_roundscale_ps(v, 0x0a); }
#else
inline Vec maximum(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec ceiling(Vec v) { return _mm256_ceil_ps(v); }
#endif

struct Softmax {
  using Bits = int32_t __attribute__((vector_size(sizeof(Vec))));

  // 2^x for x < 128, within 2 units in the last place; 0 below 2^-127 and for -infinity; NaN stays
  // NaN. A third cheaper than the general vector_exp: no upper bound, no split of ln 2.
  // x = n + r with |r| <= 1/2; minimax polynomial of degree 5, relative error 7.5e-8.
  static inline __attribute__((always_inline)) Vec power_of_two(Vec x) {
    // Adding it leaves n + 127, the exponent field of 2^n (zero for n = -127), in the low bits.
    constexpr float kRound = 0x1.8p23f + 127.0f;
    const Vec bounded = maximum(broadcast(-127.0f), x);
    const Vec shifted = bounded + kRound;
    const Vec r = bounded - (shifted - kRound);
    const Vec p = 0x1.000002p+0f +
                  r * (0x1.62e428p-1f +
                       r * (0x1.ebf918p-3f +
                            r * (0x1.c6b6e4p-5f + r * (0x1.3d0c52p-7f + r * 0x1.5c08e6p-10f))));
    return p * (Vec)((Bits)shifted << 23);
  }

  // Where no key has been seen, 0 in place of -infinity: scores are -infinity too, and weigh 0.
  static Vec finite_offset(Vec offset) { return offset == -__builtin_inff() ? zero() : offset; }

  static void raise_offset(const float* scores, int64_t rows, int64_t cols, float factor,
                           float* offset, float* sum, float* shrink) {
    for (int64_t c = 0; c < cols; c += kLanes) {
      Vec best[4];
      for (Vec& b : best) b = broadcast(-__builtin_inff());
      int64_t r = 0;
      for (; r + 4 <= rows; r += 4) {
        for (int i = 0; i < 4; ++i) best[i] = maximum(best[i], load(scores + (r + i) * cols + c));
      }
      for (; r < rows; ++r) best[0] = maximum(best[0], load(scores + r * cols + c));
      const Vec highest = maximum(maximum(best[0], best[1]), maximum(best[2], best[3]));
      const Vec before = load(offset + c);
      const Vec after = maximum(before, ceiling(highest * factor));
      const Vec factor_of_sum = power_of_two(before - finite_offset(after));
      store(offset + c, after);
      store(shrink + c, factor_of_sum);
      store(sum + c, load(sum + c) * factor_of_sum);
    }
  }

  static void exponentiate(float* scores, int64_t rows, int64_t cols, float factor,
                           const float* offset, float* sum) {
    for (int64_t c = 0; c < cols; c += 2 * kLanes) {
      const Vec offset0 = finite_offset(load(offset + c));
      const Vec offset1 = finite_offset(load(offset + c + kLanes));
      Vec sum0 = load(sum + c), sum1 = load(sum + c + kLanes);
      for (int64_t r = 0; r < rows; ++r) {
        float* row = scores + r * cols + c;
        const Vec p0 = power_of_two(load(row) * factor - offset0);
        const Vec p1 = power_of_two(load(row + kLanes) * factor - offset1);
        store(row, p0);
        store(row + kLanes, p1);
        sum0 = sum0 + p0;
        sum1 = sum1 + p1;
      }
      store(sum + c, sum0);
      store(sum + c + kLanes, sum1);
    }
  }

  static void scale_columns(float* accumulator, int64_t rows, int64_t cols, const float* shrink) {
    for (int64_t r = 0; r < rows; ++r, accumulator += cols) {
      for (int64_t c = 0; c < cols; c += kLanes) {
        store(accumulator + c, load(accumulator + c) * load(shrink + c));
      }
    }
  }

  static void differentiate(float* scores, float* d_p, int64_t rows, int64_t cols, float factor,
                            float scale, const float* offset, const float* centre) {
    for (int64_t r = 0; r < rows; ++r, scores += cols, d_p += cols) {
      const Vec row_offset = broadcast(offset + r), row_centre = broadcast(centre + r);
      for (int64_t c = 0; c < cols; c += kLanes) {
        const Vec p = power_of_two(load(scores + c) * factor - row_offset);
        store(scores + c, p);
        store(d_p + c, p * (load(d_p + c) * scale - row_centre));
      }
    }
  }

  static constexpr SoftmaxKernel kernel() {
    return {&raise_offset, &exponentiate, &scale_columns, &differentiate};
  }
};

}  // namespace
