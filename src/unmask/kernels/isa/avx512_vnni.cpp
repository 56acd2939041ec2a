#include <cstdint>
#include <immintrin.h>
#include <utility>

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
  static constexpr int kRowWords = 1, kWords = 1, kAtOnce = 1;
  static void split(Bits v, int /*i*/, Bits* w) { w[0] = v; }
  static void split_row(Bits v, Bits* x) { x[0] = v; }
  static void add(Sum& sum, const Bits* w, const Bits* x) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w[0]), "v"(x[0]));
  }
};

struct ByteDotPeak {
  static constexpr int kDepth = 4;
  static Vec multiply_add(Vec a, Vec b, Vec sum) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
};

}  // namespace

const PeakKernel kPeakInt8 = peak_of<ByteDotPeak>();
const QuantizedKernel kInt8 = QuantizedTiles<ByteDot, WholeWords, 12>::kernel();
const QuantizedKernel kInt4 = QuantizedTiles<ByteDot, HalfBytes, 12>::kernel();

}  // namespace unmask::avx512_vnni
