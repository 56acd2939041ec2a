#include <cstdint>
#include <immintrin.h>
#include <utility>

#include "unmask/kernels/isa/tables.h"

namespace unmask::avx2 {
// clang-format off
#include "unmask/kernels/isa/lanes8.inl.h"
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
#include "unmask/kernels/isa/matrix_registers.inl.h"
#include "unmask/kernels/isa/matrix_spelled_out.inl.h"
#include "unmask/kernels/isa/matrix_gemm.inl.h"
#include "unmask/kernels/isa/matrix_quantized.inl.h"
// clang-format on

const PeakKernel kPeak = peak_of<F32Words>();
const GemmKernel kGemmF32 = Gemm<F32Words>::kernel();
const GemmKernel kGemmBf16 = Gemm<RoundedWords>::kernel();
const GemmKernel kGemmBf16Pairs = Gemm<SpelledOutPairs>::kernel();

const PeakKernel kPeakInt8 = peak_of<ByteHalvesPeak>();
using Int8Tiles = QuantizedTiles<ByteHalves, WholeWords, 6>;
using Int4Tiles = QuantizedTiles<HalfByteProducts, WholeWords, 4>;
const QuantizedKernel kBf16 = QuantizedTiles<SpelledOutBf16, WholeWords, 6>::kernel();
const QuantizedKernel kInt8 = Int8Tiles::kernel();
const QuantizedKernel kInt4 = Int4Tiles::kernel();

using Registers = SpelledOutRegisters;
const GemmKernel kGemmBf16Matrix = MatrixGemm<SpelledOutPairs, Registers>::kernel();
const QuantizedKernel kBf16Matrix =
    MatrixQuantized<StoredColumns<MatrixPairDot, false>, Registers, NoRows>::kernel();
const QuantizedKernel kInt8Matrix =
    MatrixQuantized<StoredColumns<MatrixByteDot, true>, Registers, Int8Tiles>::kernel();
const QuantizedKernel kInt4Matrix =
    MatrixQuantized<HalfByteColumns, Registers, Int4Tiles>::kernel();

const SoftmaxKernel kSoftmax = Softmax::kernel();
const DotsKernel kDots = Dots::kernel();
const ActivationKernel kActivation = {&to_levels, &to_pairs};
const SwiGluKernel kSwiGlu = {&swiglu_forward, &swiglu_backward};

}  // namespace unmask::avx2
