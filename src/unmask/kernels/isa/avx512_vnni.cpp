#include <cstdint>
#include <immintrin.h>
#include <utility>

#include "unmask/kernels/isa/tables.h"

namespace unmask::avx512_vnni {
// clang-format off
#include "unmask/kernels/isa/lanes16.inl.h"
#include "unmask/kernels/isa/unrolled.inl.h"
#include "unmask/kernels/isa/gemm.inl.h"
#include "unmask/kernels/isa/peak.inl.h"
#include "unmask/kernels/isa/bits.inl.h"
#include "unmask/kernels/isa/word_dots.inl.h"
#include "unmask/kernels/isa/quantized.inl.h"
#include "unmask/kernels/isa/byte_dot.inl.h"
// clang-format on

namespace {

struct ByteDotPeak {
  static constexpr int kDepth = 4;
  static void add_product(Vec& sum, Vec a, Vec b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
};

}  // namespace

const PeakKernel kPeakInt8 = peak_of<ByteDotPeak>();
const QuantizedKernel kInt8 = QuantizedTiles<ByteDot, WholeWords, 9>::kernel();
const QuantizedKernel kInt4 = QuantizedTiles<ByteDot, HalfBytes, 9>::kernel();
const QuantizedKernel kInt8PastCaches =
    QuantizedTiles<ByteDot, WholeWords, 9, PastOuterCaches>::kernel();
const QuantizedKernel kInt4PastCaches =
    QuantizedTiles<ByteDot, HalfBytes, 9, PastOuterCaches>::kernel();

}  // namespace unmask::avx512_vnni
