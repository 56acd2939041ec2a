#include <cstdint>
#include <immintrin.h>
#include <utility>

#include "unmask/kernels/isa/tables.h"

namespace unmask::avx512_bf16 {
// clang-format off
#include "unmask/kernels/isa/lanes16.inl.h"
#include "unmask/kernels/isa/unrolled.inl.h"
#include "unmask/kernels/isa/gemm.inl.h"
#include "unmask/kernels/isa/peak.inl.h"
#include "unmask/kernels/isa/bits.inl.h"
#include "unmask/kernels/isa/word_dots.inl.h"
#include "unmask/kernels/isa/quantized.inl.h"
#include "unmask/kernels/isa/bf16_pairs.inl.h"
// clang-format on

namespace {

struct PairDot : WholeWordDot {
  using Sum = Vec;
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    Bf16Pairs::add_product(sum, as_floats(x[0]), as_floats(w[0]));
  }
};

}  // namespace

const PeakKernel kPeak = peak_of<Bf16Pairs>();
const GemmKernel kGemmBf16 = Gemm<Bf16Pairs>::kernel();
const QuantizedKernel kBf16 = QuantizedTiles<PairDot, WholeWords, 12>::kernel();
const QuantizedKernel kBf16PastCaches =
    QuantizedTiles<PairDot, WholeWords, 12, PastOuterCaches>::kernel();

}  // namespace unmask::avx512_bf16
