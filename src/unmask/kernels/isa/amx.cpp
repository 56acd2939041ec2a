#include <cstddef>
#include <cstdint>
#include <immintrin.h>
#include <utility>

#include "unmask/kernels/isa/tables.h"

namespace unmask::amx {
// clang-format off
#include "unmask/kernels/isa/lanes16.inl.h"
#include "unmask/kernels/isa/unrolled.inl.h"
#include "unmask/kernels/isa/gemm.inl.h"
#include "unmask/kernels/isa/bits.inl.h"
#include "unmask/kernels/isa/word_dots.inl.h"
#include "unmask/kernels/isa/quantized.inl.h"
#include "unmask/kernels/isa/byte_dot.inl.h"
#include "unmask/kernels/isa/bf16_pairs.inl.h"
#include "unmask/kernels/isa/matrix_registers.inl.h"
// clang-format on

namespace {

// Operand of ldtilecfg.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// For products of so many rows.
constexpr TileConfig config_for(int64_t rows) {
  TileConfig config;
  for (int i = kSum00; i <= kCols1; ++i) {
    config.rows[i] = static_cast<uint8_t>(height_of(i, rows));
    config.row_bytes[i] = 4 * kRegisterWords;
  }
  return config;
}

struct Configs {
  TileConfig of[kMatrixRows + 1];  // so many rows
};
constexpr Configs make_configs() {
  Configs configs;
  for (int64_t rows = 0; rows <= kMatrixRows; ++rows) configs.of[rows] = config_for(rows);
  return configs;
}
constexpr Configs kConfigs = make_configs();

struct MatrixPairDot {
  template <int kSum, int kRows, int kCols>
  static void add() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kRows), "i"(kCols));
  }
};

// Signed bytes of rows times unsigned ones of columns.
struct MatrixByteDot {
  template <int kSum, int kRows, int kCols>
  static void add() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kRows), "i"(kCols));
  }
};

struct MatrixSignedByteDot {
  template <int kSum, int kRows, int kCols>
  static void add() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kRows), "i"(kCols));
  }
};

// The registers of this thread, for products of so many rows. They stay as configured, since to
// configure takes as long as a small product; to see whether they are takes a tenth of that.
class AmxRegisters {
 public:
  explicit AmxRegisters(int64_t rows) {
    const TileConfig& wanted = kConfigs.of[rows];
    TileConfig found;
    asm volatile("sttilecfg %0" : "=m"(found));
    const __m512i difference = _mm512_xor_si512(load_bits(&found), load_bits(&wanted));
    if (_mm512_test_epi64_mask(difference, difference) != 0) {
      asm volatile("ldtilecfg %0" ::"m"(wanted));
    }
  }

  template <int kIndex>
  void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kIndex));
  }
  template <int kIndex>
  void load(const void* p, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(4 * stride), "i"(kIndex) : "memory");
  }
  template <int kIndex>
  void store(void* p, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(4 * stride), "i"(kIndex)
                 : "memory");
  }
  template <class Dot, int kSum, int kRows, int kCols>
  void add() {
    Dot::template add<kSum, kRows, kCols>();
  }
};

}  // namespace

// clang-format off
#include "unmask/kernels/isa/matrix_gemm.inl.h"
#include "unmask/kernels/isa/matrix_quantized.inl.h"
// clang-format on

namespace {

// Independent products of whole registers, to measure what the machine could do.
template <class Dot>
float run_arithmetic(int64_t steps) {
  alignas(64) float values[kRegisterRows * kRegisterWords] = {};
  AmxRegisters r(kMatrixRows);
  r.load<kRows0>(values, kRegisterWords);
  r.load<kRows1>(values, kRegisterWords);
  r.load<kCols0>(values, kRegisterWords);
  r.load<kCols1>(values, kRegisterWords);
  r.zero<kSum00>();
  r.zero<kSum01>();
  r.zero<kSum10>();
  r.zero<kSum11>();
  for (int64_t i = 0; i < steps; i += 4) {
    r.add<Dot, kSum00, kRows0, kCols0>();
    r.add<Dot, kSum01, kRows0, kCols1>();
    r.add<Dot, kSum10, kRows1, kCols0>();
    r.add<Dot, kSum11, kRows1, kCols1>();
  }
  r.store<kSum00>(values, kRegisterWords);
  return values[0];
}

template <class Dot>
constexpr PeakKernel peak_of(int64_t depth) {
  const auto products =
      static_cast<double>(kRegisterRows * kRegisterWords * kRegisterWords * depth);
  return {&run_arithmetic<Dot>, 2 * products};
}

}  // namespace

const PeakKernel kPeakBf16 = peak_of<MatrixPairDot>(2);
const PeakKernel kPeakInt8 = peak_of<MatrixByteDot>(4);
const GemmKernel kGemmBf16 = MatrixGemm<Bf16Pairs, AmxRegisters>::kernel();
const QuantizedKernel kBf16 =
    MatrixQuantized<StoredColumns<MatrixPairDot, false>, AmxRegisters, NoRows>::kernel();
const QuantizedKernel kInt8 = MatrixQuantized<StoredColumns<MatrixByteDot, true>, AmxRegisters,
                                              QuantizedTiles<ByteDot, WholeWords, 7>>::kernel();
const QuantizedKernel kInt4 = MatrixQuantized<HalfByteColumns, AmxRegisters,
                                              QuantizedTiles<ByteDot, HalfBytes, 10>>::kernel();

}  // namespace unmask::amx
