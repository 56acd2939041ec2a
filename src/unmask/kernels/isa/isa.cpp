#include "unmask/kernels/isa/isa.h"

#include <cstdlib>
#include <string_view>

#include "unmask/base/log.h"
#include "unmask/kernels/isa/tables.h"

namespace unmask {
namespace {

Isa best_of_machine() {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return Isa::avx2;
  }
  return __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16 : Isa::avx512;
}

Isa choose() {
  const Isa best = best_of_machine();
  const char* wish = std::getenv("UNMASK_ISA");
  if (wish == nullptr) return best;
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512_bf16}) {
    if (name_of(isa) == wish) {
      if (isa <= best) return isa;
      log_warning("UNMASK_ISA={}: this machine has only {}", wish, name_of(best));
      return best;
    }
  }
  log_warning("UNMASK_ISA={}: expected avx2, avx512 or avx512-bf16; using {}", wish, name_of(best));
  return best;
}

}  // namespace

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512-bf16";
  }
  return "unknown";
}

Isa isa_in_use() {
  static const Isa isa = choose();
  return isa;
}

bool use_reference_kernels() {
  static const bool reference = [] {
    const char* wish = std::getenv("UNMASK_KERNELS");
    return wish != nullptr && std::string_view(wish) == "reference";
  }();
  return reference;
}

const GemmKernel& gemm_kernel(Precision precision) {
  const bool f32 = precision == Precision::f32;
  switch (isa_in_use()) {
    case Isa::avx2:
      return f32 ? avx2::kGemmF32 : avx2::kGemmBf16;
    case Isa::avx512:
      return f32 ? avx512::kGemmF32 : avx512::kGemmBf16;
    case Isa::avx512_bf16:
      break;
  }
  return f32 ? avx512::kGemmF32 : avx512_bf16::kGemmBf16;
}

const PeakKernel& peak_kernel(Precision precision) {
  if (isa_in_use() == Isa::avx2) return avx2::kPeak;
  const bool dot = precision == Precision::bf16 && isa_in_use() == Isa::avx512_bf16;
  return dot ? avx512_bf16::kPeak : avx512::kPeak;
}

const SwiGluKernel& swiglu_kernel() {
  return isa_in_use() == Isa::avx2 ? avx2::kSwiGlu : avx512::kSwiGlu;
}

const SoftmaxKernel& softmax_kernel() {
  return isa_in_use() == Isa::avx2 ? avx2::kSoftmax : avx512::kSoftmax;
}

const ElementwiseKernel& elementwise_kernel() {
  return isa_in_use() == Isa::avx2 ? avx2::kElementwise : avx512::kElementwise;
}

const NormKernel& norm_kernel() { return isa_in_use() == Isa::avx2 ? avx2::kNorm : avx512::kNorm; }

}  // namespace unmask
