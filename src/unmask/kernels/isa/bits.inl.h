// Included inside the namespace of an instruction set, after its lanes: vectors of integers. `Bits`
// are 32-bit words in the lanes of a vector.

namespace {

// The sum of eight words.
inline int32_t sum_of_words(__m256i v) {
  const __m128i fours = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i twos = _mm_add_epi32(fours, _mm_unpackhi_epi64(fours, fours));
  return _mm_cvtsi128_si32(twos) + _mm_extract_epi32(twos, 1);
}

#ifdef __AVX512F__
using Bits = __m512i;
inline int32_t sum_of_words(Bits v) {
  return sum_of_words(_mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1)));
}
inline Bits load_bits(const void* p) { return _mm512_loadu_si512(p); }
inline void store_bits(void* p, Bits v) { _mm512_storeu_si512(p, v); }
inline Bits word(int32_t value) { return _mm512_set1_epi32(value); }
template <uint32_t kMask>
inline Bits masked(Bits v) {
  return _mm512_and_si512(v, word(int32_t(kMask)));
}
template <int kBits>
inline Bits shift_right(Bits v) {
  return _mm512_srli_epi32(v, kBits);
}
template <int kBits>
inline Bits shift_left(Bits v) {
  return _mm512_slli_epi32(v, kBits);
}
template <int kBits>
inline Bits shift_right_16(Bits v) {
  return _mm512_srai_epi16(v, kBits);
}
template <int kBits>
inline Bits shift_left_16(Bits v) {
  return _mm512_slli_epi16(v, kBits);
}
template <int kBits>
inline Bits shift_right_unsigned_16(Bits v) {
  return _mm512_srli_epi16(v, kBits);
}
inline Bits multiply_pairs(Bits a, Bits b) { return _mm512_madd_epi16(a, b); }
inline Bits add_16(Bits a, Bits b) { return _mm512_add_epi16(a, b); }
inline Bits add_32(Bits a, Bits b) { return _mm512_add_epi32(a, b); }
inline Bits byte_pairs(Bits unsigned_bytes, Bits bytes) {
  return _mm512_maddubs_epi16(unsigned_bytes, bytes);
}
inline Vec as_floats(Bits v) { return _mm512_castsi512_ps(v); }
inline Bits as_bits(Vec v) { return _mm512_castps_si512(v); }
inline Vec to_floats(Bits v) { return _mm512_cvtepi32_ps(v); }
inline Bits to_nearest(Vec v) { return _mm512_cvtps_epi32(v); }
inline Bits max_unsigned(Bits a, Bits b) { return _mm512_max_epu32(a, b); }
// The words of v[0], then those of v[1] …, each as a signed byte.
inline Bits pack_bytes(const Bits v[4]) {
  const Bits bytes =
      _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
  const Bits order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, bytes);
}
inline Bits load_halves(const void* p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
#else
using Bits = __m256i;
inline Bits load_bits(const void* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void store_bits(void* p, Bits v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
inline Bits word(int32_t value) { return _mm256_set1_epi32(value); }
// The mask is an operand in memory, because GCC keeps a constant in a register that the sums need.
struct alignas(32) Words {
  uint32_t word[8];
};
template <uint32_t kWord>
constexpr Words kEvery = {{kWord, kWord, kWord, kWord, kWord, kWord, kWord, kWord}};
template <uint32_t kMask>
inline Bits masked(Bits v) {
  Bits kept;
  asm("vpand %2, %1, %0" : "=v"(kept) : "v"(v), "m"(kEvery<kMask>));
  return kept;
}
template <int kBits>
inline Bits shift_right(Bits v) {
  return _mm256_srli_epi32(v, kBits);
}
template <int kBits>
inline Bits shift_left(Bits v) {
  return _mm256_slli_epi32(v, kBits);
}
template <int kBits>
inline Bits shift_right_16(Bits v) {
  return _mm256_srai_epi16(v, kBits);
}
template <int kBits>
inline Bits shift_left_16(Bits v) {
  return _mm256_slli_epi16(v, kBits);
}
template <int kBits>
inline Bits shift_right_unsigned_16(Bits v) {
  return _mm256_srli_epi16(v, kBits);
}
inline Bits multiply_pairs(Bits a, Bits b) { return _mm256_madd_epi16(a, b); }
inline Bits add_16(Bits a, Bits b) { return _mm256_add_epi16(a, b); }
inline Bits add_32(Bits a, Bits b) { return _mm256_add_epi32(a, b); }
inline Bits byte_pairs(Bits unsigned_bytes, Bits bytes) {
  return _mm256_maddubs_epi16(unsigned_bytes, bytes);
}
inline Vec as_floats(Bits v) { return _mm256_castsi256_ps(v); }
inline Bits as_bits(Vec v) { return _mm256_castps_si256(v); }
inline Vec to_floats(Bits v) { return _mm256_cvtepi32_ps(v); }
inline Bits to_nearest(Vec v) { return _mm256_cvtps_epi32(v); }
inline Bits max_unsigned(Bits a, Bits b) { return _mm256_max_epu32(a, b); }
inline Bits pack_bytes(const Bits v[4]) {
  const Bits bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
inline Bits load_halves(const void* p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
#endif

inline Bits broadcast_bits(const void* p) {
  int32_t value;
  __builtin_memcpy(&value, p, 4);
  return word(value);
}
inline Vec load_scales(const bf16* p) { return as_floats(shift_left<16>(load_halves(p))); }
inline Bits upper_halves(Bits v) { return masked<0xffff0000>(v); }

// sum[lane] += a · b of the lane's two 16-bit integers. An instruction of its own, because GCC 12
// adds products to each other first and has no registers left for the sums.
inline void add_pairs(Bits& sum, Bits a, Bits b) {
  asm("vpaddd %1, %0, %0" : "+v"(sum) : "v"(multiply_pairs(a, b)));
}

// What a sum begins with. An instruction of its own, because GCC 12 loads a word once and copies
// it.
inline Bits start_of(const int32_t* p) {
  Bits start;
  asm volatile("vpbroadcastd %1, %0" : "=v"(start) : "m"(*p));
  return start;
}

// A loaded vector that stays in its register: GCC 12 would load it again for every use.
inline Bits held(Bits v) {
  asm("" : "+v"(v));
  return v;
}

}  // namespace
