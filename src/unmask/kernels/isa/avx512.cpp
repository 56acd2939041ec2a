#include <cstdint>
#include <immintrin.h>

#include "unmask/kernels/isa/tables.h"

namespace unmask::avx512 {
// clang-format off
#include "unmask/kernels/isa/lanes16.inl.h"
#include "unmask/kernels/isa/gemm.inl.h"
#include "unmask/kernels/isa/peak.inl.h"
#include "unmask/kernels/isa/quantized.inl.h"
#include "unmask/kernels/isa/vector_exp.inl.h"
#include "unmask/kernels/isa/swiglu.inl.h"
#include "unmask/kernels/isa/rows.inl.h"
#include "unmask/kernels/isa/elementwise.inl.h"
#include "unmask/kernels/isa/norm.inl.h"
#include "unmask/kernels/isa/softmax.inl.h"
// clang-format on

namespace {

struct SpelledOutPairs {
  static constexpr int kDepth = 2;

  static __m512i bits(Vec v) { return _mm512_castps_si512(round_bf16(v)); }
  // Values 2i and 2i + 1 of 32 consecutive ones.
  static Vec along(Vec first, Vec second) {
    const __m512i low =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(1));
    const __m512i a = bits(first), b = bits(second);
    return join(_mm512_permutex2var_epi32(a, low, b), _mm512_permutex2var_epi32(a, high, b));
  }
  static Vec across(Vec row, Vec next) { return join(bits(row), bits(next)); }
  static Vec join(__m512i low, __m512i high) {
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_srli_epi32(low, 16), high));
  }
  static Vec multiply_add(Vec a, Vec b, Vec sum) {
    const __m512i x = _mm512_castps_si512(a), y = _mm512_castps_si512(b);
    const __m512i upper = _mm512_set1_epi32(int(0xffff0000));
    const auto low = [](__m512i v) { return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16)); };
    const auto high = [&](__m512i v) { return _mm512_castsi512_ps(_mm512_and_si512(v, upper)); };
    return sum + low(x) * low(y) + high(x) * high(y);
  }
};

}  // namespace

const PeakKernel kPeak = peak_of<F32Words>();
const GemmKernel kGemmF32 = Gemm<F32Words>::kernel();
const GemmKernel kGemmBf16 = Gemm<RoundedWords>::kernel();
const GemmKernel kGemmBf16Pairs = Gemm<SpelledOutPairs>::kernel();

const PeakKernel kPeakInt8 = peak_of<ByteHalvesPeak>();
const QuantizedKernel kBf16 = QuantizedTiles<SpelledOutBf16, WholeWords, 12>::kernel();
const QuantizedKernel kInt8 = QuantizedTiles<ByteHalves, WholeWords, 12>::kernel();
const QuantizedKernel kInt4 = QuantizedTiles<ByteHalves, HalfBytes, 12>::kernel();

const SoftmaxKernel kSoftmax = Softmax::kernel();
const SwiGluKernel kSwiGlu = {&swiglu_forward, &swiglu_backward};

}  // namespace unmask::avx512
