#include <cstdint>
#include <immintrin.h>

#include "unmask/kernels/isa/tables.h"

namespace unmask::avx512_bf16 {
// clang-format off
#include "unmask/kernels/isa/lanes16.inl.h"
#include "unmask/kernels/isa/gemm.inl.h"
#include "unmask/kernels/isa/peak.inl.h"
#include "unmask/kernels/isa/quantized.inl.h"
// clang-format on

namespace {

struct Pairs {
  static constexpr int kDepth = 2;

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
  static Vec multiply_add(Vec a, Vec b, Vec sum) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};

struct PairDot {
  using Sum = Vec;
  static constexpr int kRowWords = 1, kWords = 1, kAtOnce = 1;
  static void split(Bits v, int /*i*/, Bits* w) { w[0] = v; }
  static void split_row(Bits v, Bits* x) { x[0] = v; }
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x[0]), "v"(w[0]));
  }
};

}  // namespace

const PeakKernel kPeak = peak_of<Pairs>();
const GemmKernel kGemmBf16 = Gemm<Pairs>::kernel();
const QuantizedKernel kBf16 = QuantizedTiles<PairDot, WholeWords, 12>::kernel();

}  // namespace unmask::avx512_bf16
