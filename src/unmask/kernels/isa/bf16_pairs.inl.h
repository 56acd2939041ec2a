// Included inside the namespace of an instruction set with AVX512-BF16, after its lanes: words of
// two bf16 values.

namespace {

struct Bf16Pairs {
  static constexpr int kDepth = 2, kWordStep = 1;

  static __m512i convert(Vec low, Vec high) {
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  }
  static Vec along(Vec first, Vec second) { return _mm512_castsi512_ps(convert(first, second)); }
  static Vec across(Vec row, Vec next) {
    // 0 16 1 17 …: the words of two rows, interleaved.
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, convert(row, next)));
  }
  static void add_product(Vec& sum, Vec a, Vec b) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
};

}  // namespace
