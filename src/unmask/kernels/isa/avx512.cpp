#include <cstdint>
#include <immintrin.h>
#include <utility>

#include "unmask/kernels/isa/tables.h"

namespace unmask::avx512 {
// clang-format off
#include "unmask/kernels/isa/lanes16.inl.h"
#include "unmask/kernels/isa/unrolled.inl.h"
#include "unmask/kernels/isa/gemm.inl.h"
#include "unmask/kernels/isa/peak.inl.h"
#include "unmask/kernels/isa/bits.inl.h"
#include "unmask/kernels/isa/word_dots.inl.h"
#include "unmask/kernels/isa/quantized.inl.h"
#include "unmask/kernels/isa/pairs.inl.h"
#include "unmask/kernels/isa/activations.inl.h"
#include "unmask/kernels/isa/vector_exp.inl.h"
#include "unmask/kernels/isa/swiglu.inl.h"
#include "unmask/kernels/isa/rows.inl.h"
#include "unmask/kernels/isa/dots.inl.h"
#include "unmask/kernels/isa/elementwise.inl.h"
#include "unmask/kernels/isa/norm.inl.h"
#include "unmask/kernels/isa/softmax.inl.h"
// clang-format on

const PeakKernel kPeak = peak_of<F32Words>();
const GemmKernel kGemmF32 = Gemm<F32Words>::kernel();
const GemmKernel kGemmBf16 = Gemm<RoundedWords>::kernel();
const GemmKernel kGemmBf16Pairs = Gemm<SpelledOutPairs>::kernel();

const PeakKernel kPeakInt8 = peak_of<ByteHalvesPeak>();
const QuantizedKernel kBf16 = QuantizedTiles<SpelledOutBf16, WholeWords, 12>::kernel();
const QuantizedKernel kInt8 = QuantizedTiles<ByteHalves, WholeWords, 12>::kernel();
const QuantizedKernel kInt4 = QuantizedTiles<HalfByteProducts, WholeWords, 12>::kernel();

const SoftmaxKernel kSoftmax = Softmax::kernel();
const DotsKernel kDots = Dots::kernel();
const ActivationKernel kActivation = {&to_levels, &to_pairs};
const SwiGluKernel kSwiGlu = {&swiglu_forward, &swiglu_backward};

}  // namespace unmask::avx512
