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
  if (!__builtin_cpu_supports("avx512vnni")) return Isa::avx512;
  return __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16 : Isa::avx512_vnni;
}

Isa choose() {
  const Isa best = best_of_machine();
  const char* wish = std::getenv("UNMASK_ISA");
  if (wish == nullptr) return best;
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512_vnni, Isa::avx512_bf16}) {
    if (name_of(isa) == wish) {
      if (isa <= best) return isa;
      log_warning("UNMASK_ISA={}: this machine has only {}", wish, name_of(best));
      return best;
    }
  }
  log_warning("UNMASK_ISA={}: expected avx2, avx512, avx512-vnni or avx512-bf16; using {}", wish,
              name_of(best));
  return best;
}

bool has_value(const char* variable, std::string_view value) {
  const char* const found = std::getenv(variable);
  return found != nullptr && found == value;
}

}  // namespace

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_vnni:
      return "avx512-vnni";
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
  static const bool reference = has_value("UNMASK_KERNELS", "reference");
  return reference;
}

bool spell_out_pairs() {
  static const bool pairs = has_value("UNMASK_BF16", "pairs");
  return pairs;
}

const GemmKernel& gemm_kernel(Precision precision) {
  const bool f32 = precision == Precision::f32;
  switch (isa_in_use()) {
    case Isa::avx2:
      return f32 ? avx2::kGemmF32 : spell_out_pairs() ? avx2::kGemmBf16Pairs : avx2::kGemmBf16;
    case Isa::avx512:
    case Isa::avx512_vnni:
      return f32                 ? avx512::kGemmF32
             : spell_out_pairs() ? avx512::kGemmBf16Pairs
                                 : avx512::kGemmBf16;
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

const PeakKernel& int8_peak_kernel() {
  switch (isa_in_use()) {
    case Isa::avx2:
      return avx2::kPeakInt8;
    case Isa::avx512:
      return avx512::kPeakInt8;
    case Isa::avx512_vnni:
    case Isa::avx512_bf16:
      break;
  }
  return avx512_vnni::kPeakInt8;
}

const QuantizedKernel& quantized_kernel(WeightFormat format) {
  const Isa isa = isa_in_use();
  const auto of = [&](const QuantizedKernel& narrow, const QuantizedKernel& wide,
                      const QuantizedKernel& dot, Isa has_dot) -> const QuantizedKernel& {
    return isa == Isa::avx2 ? narrow : isa < has_dot ? wide : dot;
  };
  switch (format) {
    case WeightFormat::bf16:
      return of(avx2::kBf16, avx512::kBf16, avx512_bf16::kBf16, Isa::avx512_bf16);
    case WeightFormat::int8:
      return of(avx2::kInt8, avx512::kInt8, avx512_vnni::kInt8, Isa::avx512_vnni);
    case WeightFormat::int4:
      break;
  }
  return of(avx2::kInt4, avx512::kInt4, avx512_vnni::kInt4, Isa::avx512_vnni);
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
