#include "unmask/kernels/isa/isa.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/ranges.h>

#include "unmask/base/log.h"
#include "unmask/base/processor.h"
#include "unmask/kernels/isa/tables.h"

namespace unmask {
namespace {

constexpr std::array kNames = {"avx2", "avx512", "avx512-vnni", "avx512-bf16", "amx"};

// Linux lets a process use the registers of AMX once it has asked.
bool may_use_amx() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
         __builtin_cpu_supports("amx-bf16") &&
         ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

Isa best_of_machine() {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return Isa::avx2;
  }
  if (!__builtin_cpu_supports("avx512vnni")) return Isa::avx512;
  if (!__builtin_cpu_supports("avx512bf16")) return Isa::avx512_vnni;
  return may_use_amx() ? Isa::amx : Isa::avx512_bf16;
}

Isa choose() {
  const Isa best = best_of_machine();
  const char* wish = std::getenv("UNMASK_ISA");
  if (wish == nullptr) return best;
  const auto found = std::find(kNames.begin(), kNames.end(), std::string_view(wish));
  if (found == kNames.end()) {
    log_warning("UNMASK_ISA={}: expected one of {}; using {}", wish, fmt::join(kNames, ", "),
                name_of(best));
    return best;
  }
  const auto isa = static_cast<Isa>(found - kNames.begin());
  if (isa <= best) return isa;
  log_warning("UNMASK_ISA={}: this machine has only {}", wish, name_of(best));
  return best;
}

std::string_view value_of(const char* variable) {
  const char* const found = std::getenv(variable);
  return found != nullptr ? found : "";
}

SpelledOut choose_spelled_out() {
  const std::string_view wish = value_of("UNMASK_SPELLED_OUT");
  if (wish == "pairs") return SpelledOut::pairs;
  if (wish == "matrix") return SpelledOut::matrix;
  if (!wish.empty()) log_warning("UNMASK_SPELLED_OUT={}: expected pairs or matrix", wish);
  return SpelledOut::nothing;
}

bool choose_reference() {
  const std::string_view wish = value_of("UNMASK_KERNELS");
  if (!wish.empty() && wish != "reference") {
    log_warning("UNMASK_KERNELS={}: expected reference", wish);
  }
  return wish == "reference";
}

}  // namespace

std::string_view name_of(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

Isa isa_in_use() {
  static const Isa isa = choose();
  return isa;
}

bool use_reference_kernels() {
  static const bool reference = choose_reference();
  return reference;
}

SpelledOut spelled_out() {
  static const SpelledOut chosen = choose_spelled_out();
  return chosen;
}

const GemmKernel& gemm_kernel(Precision precision) {
  const Isa isa = isa_in_use();
  if (precision == Precision::f32) return isa == Isa::avx2 ? avx2::kGemmF32 : avx512::kGemmF32;
  switch (spelled_out()) {
    case SpelledOut::pairs:
      return isa == Isa::avx2 ? avx2::kGemmBf16Pairs : avx512::kGemmBf16Pairs;
    case SpelledOut::matrix:
      return avx2::kGemmBf16Matrix;
    case SpelledOut::nothing:
      break;
  }
  if (isa == Isa::avx2) return avx2::kGemmBf16;
  if (isa < Isa::avx512_bf16) return avx512::kGemmBf16;
  return isa == Isa::amx ? amx::kGemmBf16 : avx512_bf16::kGemmBf16;
}

const PeakKernel& peak_kernel(Precision precision) {
  const Isa isa = isa_in_use();
  if (isa == Isa::avx2) return avx2::kPeak;
  if (precision == Precision::f32 || isa < Isa::avx512_bf16) return avx512::kPeak;
  return isa == Isa::amx ? amx::kPeakBf16 : avx512_bf16::kPeak;
}

const PeakKernel& int8_peak_kernel() {
  const Isa isa = isa_in_use();
  if (isa == Isa::avx2) return avx2::kPeakInt8;
  if (isa == Isa::avx512) return avx512::kPeakInt8;
  return isa == Isa::amx ? amx::kPeakInt8 : avx512_vnni::kPeakInt8;
}

namespace {

// Matrix registers take 16 words at a time.
bool whole_registers(const QuantizedShape& shape) {
  constexpr int64_t kWords = 16;
  return shape.row_words() / shape.groups() % kWords == 0;
}

}  // namespace

const QuantizedKernel& quantized_kernel(const QuantizedShape& shape) {
  const Isa isa = isa_in_use();
  const auto of = [&](const QuantizedKernel& bf16, const QuantizedKernel& int8,
                      const QuantizedKernel& int4) -> const QuantizedKernel& {
    return shape.format == WeightFormat::bf16   ? bf16
           : shape.format == WeightFormat::int8 ? int8
                                                : int4;
  };
  if (whole_registers(shape)) {
    if (spelled_out() == SpelledOut::matrix) {
      return of(avx2::kBf16Matrix, avx2::kInt8Matrix, avx2::kInt4Matrix);
    }
    if (isa == Isa::amx) return of(amx::kBf16, amx::kInt8, amx::kInt4);
  }
  if (isa == Isa::avx2) return of(avx2::kBf16, avx2::kInt8, avx2::kInt4);
  if (isa == Isa::avx512) return of(avx512::kBf16, avx512::kInt8, avx512::kInt4);
  if (isa == Isa::avx512_vnni) return of(avx512::kBf16, avx512_vnni::kInt8, avx512_vnni::kInt4);
  if (!made_by_amd()) return of(avx512_bf16::kBf16, avx512_vnni::kInt8, avx512_vnni::kInt4);
  return of(avx512_bf16::kBf16PastCaches, avx512_vnni::kInt8PastCaches,
            avx512_vnni::kInt4PastCaches);
}

const ActivationKernel& activation_kernel() {
  return isa_in_use() == Isa::avx2 ? avx2::kActivation : avx512::kActivation;
}

const DotsKernel& dots_kernel() { return isa_in_use() == Isa::avx2 ? avx2::kDots : avx512::kDots; }

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
