#include <immintrin.h>

#include <cstdint>

#include "unmask/kernels/isa/tables.h"

namespace unmask::avx2 {
// clang-format off
#include "unmask/kernels/isa/lanes8.inl.h"
#include "unmask/kernels/isa/gemm.inl.h"
// clang-format on

const GemmKernel kGemmF32 = Gemm<F32Words>::kernel();
const GemmKernel kGemmBf16 = Gemm<RoundedWords>::kernel();

}  // namespace unmask::avx2
