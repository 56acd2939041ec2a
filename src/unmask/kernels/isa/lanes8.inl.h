// Included inside the namespace of an instruction set: 8 lanes of 32 bits (AVX2).

namespace {

constexpr int kLanes = 8;
constexpr int kTileRows = 6;  // x 2 vectors = 12 accumulators of 16 registers

using Vec = __m256;

inline __m256i lane_mask(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline Vec load_partial(const float* p, int64_t n) { return _mm256_maskload_ps(p, lane_mask(n)); }
inline Vec load(const bf16* p) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
inline Vec load_partial(const bf16* p, int64_t n) {
  bf16 values[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) values[i].bits = p[i].bits;
  return load(values);
}
inline void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline void stream(float* p, Vec v) { _mm256_stream_ps(p, v); }
inline void store_partial(float* p, Vec v, int64_t n) { _mm256_maskstore_ps(p, lane_mask(n), v); }
inline Vec zero() { return _mm256_setzero_ps(); }
inline Vec broadcast(float x) { return _mm256_set1_ps(x); }
inline Vec broadcast(const float* p) { return _mm256_broadcast_ss(p); }

// To the nearest bf16, ties to even; a NaN keeps its sign and becomes quiet.
inline Vec round_bf16(Vec v) {
  const __m256i word = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(word, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(word, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const Vec quiet = _mm256_castsi256_ps(_mm256_or_si256(word, _mm256_set1_epi32(0x00400000)));
  const Vec kept =
      _mm256_blendv_ps(_mm256_castsi256_ps(rounded), quiet, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  return _mm256_and_ps(kept, _mm256_castsi256_ps(_mm256_set1_epi32(int(0xffff0000))));
}

// Past the caches; p is a multiple of 16 bytes.
inline void stream(bf16* p, Vec v) {
  const __m256i upper = _mm256_srli_epi32(_mm256_castps_si256(round_bf16(v)), 16);
  _mm_stream_si128(
      reinterpret_cast<__m128i*>(p),
      _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1)));
}

// rows[i][j] <-> rows[j][i]
inline void transpose(Vec rows[8]) {
  Vec a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
}

// Of 16 consecutive values those at even and at odd places.
inline void unzip(Vec first, Vec second, Vec& even, Vec& odd) {
  const auto in_order = [](Vec v) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
  };
  even = in_order(_mm256_shuffle_ps(first, second, 0x88));
  odd = in_order(_mm256_shuffle_ps(first, second, 0xdd));
}

}  // namespace
