// Included inside the namespace of an instruction set, after its lanes: rows of any length.

namespace {

// The first `n` of a vector's values, zeros behind them; a plain load where there are enough.
inline __attribute__((always_inline)) Vec load_up_to(const float* p, int64_t n) {
  return n >= kLanes ? load(p) : load_partial(p, n);
}
inline __attribute__((always_inline)) void store_up_to(float* p, Vec v, int64_t n) {
  n >= kLanes ? store(p, v) : store_partial(p, v, n);
}

// The upper half of the lanes folded onto the lower with `combine`, until one is left.
template <class Combine>
inline __attribute__((always_inline)) float fold_lanes(Vec v, Combine combine) {
#ifdef __AVX512F__
  const __m256 eight = combine(_mm512_castps512_ps256(v),
                               __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
#else
  const __m256 eight = v;
#endif
  const __m128 four = combine(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = combine(four, _mm_movehl_ps(four, four));
  return combine(two, _mm_movehdup_ps(two))[0];
}
inline float sum_of_lanes(Vec v) {
  return fold_lanes(v, [](auto a, auto b) { return a + b; });
}
inline float largest_lane(Vec v) {
  return fold_lanes(v, [](auto a, auto b) { return a > b ? a : b; });
}

}  // namespace
