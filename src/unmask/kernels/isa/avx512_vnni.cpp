#include <cstdint>
#include <immintrin.h>

#include "unmask/kernels/isa/tables.h"

namespace unmask::avx512_vnni {
// clang-format off
#include "unmask/kernels/isa/lanes16.inl.h"
#include "unmask/kernels/isa/gemm.inl.h"
#include "unmask/kernels/isa/peak.inl.h"
#include "unmask/kernels/isa/quantized.inl.h"
// clang-format on

namespace {

struct ByteDot {
  using Sum = Bits;
  static constexpr int kWords = 1;
  static Sum add(Sum sum, const Bits* w, const Bits* x) {
    return _mm512_dpbusd_epi32(sum, w[0], x[0]);
  }
};

}  // namespace

const PeakKernel kPeakInt8 = peak_of<BytePeak<ByteDot>>();
const QuantizedKernel kInt8 = QuantizedTiles<ByteDot, WholeWords, 12>::kernel();
const QuantizedKernel kInt4 = QuantizedTiles<ByteDot, HalfBytes, 12>::kernel();

}  // namespace unmask::avx512_vnni
