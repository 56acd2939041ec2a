#pragma once

#include "unmask/kernels/isa/activation_kernel.h"
#include "unmask/kernels/isa/dots_kernel.h"
#include "unmask/kernels/isa/elementwise_kernel.h"
#include "unmask/kernels/isa/gemm_kernel.h"
#include "unmask/kernels/isa/norm_kernel.h"
#include "unmask/kernels/isa/peak_kernel.h"
#include "unmask/kernels/isa/quantized_kernel.h"
#include "unmask/kernels/isa/softmax_kernel.h"
#include "unmask/kernels/isa/swiglu_kernel.h"

// What each instruction set's translation unit offers. Only isa.cpp's dispatch reads this.
namespace unmask {

namespace avx2 {
extern const PeakKernel kPeak;
extern const ElementwiseKernel kElementwise;
extern const NormKernel kNorm;
extern const GemmKernel kGemmF32;
extern const GemmKernel kGemmBf16;
extern const GemmKernel kGemmBf16Pairs;  // of instructions spelled out (isa.h), as are the next
extern const GemmKernel kGemmBf16Matrix;
extern const QuantizedKernel kBf16Matrix;
extern const QuantizedKernel kInt8Matrix;
extern const QuantizedKernel kInt4Matrix;
extern const SoftmaxKernel kSoftmax;
extern const SwiGluKernel kSwiGlu;
extern const ActivationKernel kActivation;
extern const DotsKernel kDots;
extern const PeakKernel kPeakInt8;
extern const QuantizedKernel kBf16;
extern const QuantizedKernel kInt8;
extern const QuantizedKernel kInt4;
}  // namespace avx2

namespace avx512 {
extern const PeakKernel kPeak;
extern const ElementwiseKernel kElementwise;
extern const NormKernel kNorm;
extern const GemmKernel kGemmF32;
extern const GemmKernel kGemmBf16;
extern const GemmKernel kGemmBf16Pairs;
extern const SoftmaxKernel kSoftmax;
extern const SwiGluKernel kSwiGlu;
extern const ActivationKernel kActivation;
extern const DotsKernel kDots;
extern const PeakKernel kPeakInt8;
extern const QuantizedKernel kBf16;
extern const QuantizedKernel kInt8;
extern const QuantizedKernel kInt4;
}  // namespace avx512

namespace avx512_vnni {
extern const PeakKernel kPeakInt8;
extern const QuantizedKernel kInt8;
extern const QuantizedKernel kInt4;
extern const QuantizedKernel kInt8PastCaches;
extern const QuantizedKernel kInt4PastCaches;
}  // namespace avx512_vnni

namespace avx512_bf16 {
extern const PeakKernel kPeak;
extern const GemmKernel kGemmBf16;
extern const QuantizedKernel kBf16;
extern const QuantizedKernel kBf16PastCaches;
}  // namespace avx512_bf16

namespace amx {
extern const PeakKernel kPeakBf16;
extern const PeakKernel kPeakInt8;
extern const GemmKernel kGemmBf16;
extern const QuantizedKernel kBf16;
extern const QuantizedKernel kInt8;
extern const QuantizedKernel kInt4;
}  // namespace amx

}  // namespace unmask
