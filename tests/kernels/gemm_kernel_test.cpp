#include "unmask/kernels/isa/gemm_kernel.h"

#include "tests/kernels/this_machine.h"
#include "tests/support/numeric.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "unmask/base/bf16.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/tables.h"

namespace unmask {
namespace {

struct GemmCase {
  const char* name;
  Isa needs;
  const GemmKernel* kernel;
  bool rounds;  // to bf16
};

const GemmCase kGemmCases[] = {
    {"avx2 f32", Isa::avx2, &avx2::kGemmF32, false},
    {"avx2 bf16", Isa::avx2, &avx2::kGemmBf16, true},
    {"avx2 bf16 pairs", Isa::avx2, &avx2::kGemmBf16Pairs, true},
    {"avx512 f32", Isa::avx512, &avx512::kGemmF32, false},
    {"avx512 bf16", Isa::avx512, &avx512::kGemmBf16, true},
    {"avx512 bf16 pairs", Isa::avx512, &avx512::kGemmBf16Pairs, true},
    {"avx512-bf16 bf16", Isa::avx512_bf16, &avx512_bf16::kGemmBf16, true},
    {"matrix spelled out", Isa::avx2, &avx2::kGemmBf16Matrix, true},
    {"amx bf16", Isa::amx, &amx::kGemmBf16, true},
};

class GemmKernelTest : public testing::TestWithParam<GemmCase> {
 protected:
  static float seen(float value) { return GetParam().rounds ? round_to_bf16(value) : value; }

  // a [m, k] times b [n, k] transposed, in f64 of the values the kernel sees.
  static TestMatrix product(ConstMatrix a, ConstMatrix b, int64_t cols) {
    TestMatrix c(a.rows, cols);
    for (int64_t i = 0; i < a.rows; ++i) {
      for (int64_t j = 0; j < b.rows; ++j) {
        double sum = 0;
        for (int64_t p = 0; p < a.cols; ++p) {
          sum += static_cast<double>(seen(a(i, p))) * seen(b(j, p));
        }
        c(i, j) = static_cast<float>(sum);
      }
    }
    return c;
  }
};

TestMatrix transposed(ConstMatrix m) {
  TestMatrix t(m.cols, m.rows, m.rows + 3);
  for (int64_t i = 0; i < m.rows; ++i) {
    for (int64_t j = 0; j < m.cols; ++j) t(j, i) = m(i, j);
  }
  return t;
}

// Packed words, surrounded by a mark beyond the room that packing is promised.
std::vector<float> room(int64_t words, int64_t width) {
  return std::vector<float>(words * width + kPackSlack + 8, 777.0f);
}

// Words as bits: pairs of bf16 may read as a NaN.
bool same_words(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_P(GemmKernelTest, BothWaysOfPackingGiveTheProduct) {
  const GemmKernel& g = *GetParam().kernel;
  for (const int64_t k : {1, 2, 15, 16, 17, 31, 32, 33, 100}) {
    for (int64_t rows = 1; rows <= g.max_rows; ++rows) {
      const int64_t live = g.cols - (rows % 3) * 5;
      const TestMatrix a = random_matrix(rows, k, 1 + rows, 1, k + 7);
      const TestMatrix b = random_matrix(live, k, 2 + k, 1, k + 1);
      const TestMatrix expected = product(a, b, g.cols);
      const TestMatrix at = transposed(a), bt = transposed(b);
      for (const bool along_k : {true, false}) {
        auto packed_a = room(g.words(k), rows), packed_b = room(g.words(k), g.cols);
        if (along_k) {
          g.a.rows(a.view().data, a.view().stride, nullptr, rows, rows, k, packed_a.data());
          g.b.rows(b.view().data, b.view().stride, nullptr, live, g.cols, k, packed_b.data());
        } else {
          g.a.columns(at.view().data, at.view().stride, nullptr, rows, rows, k, packed_a.data());
          g.b.columns(bt.view().data, bt.view().stride, nullptr, live, g.cols, k, packed_b.data());
        }
        EXPECT_EQ(packed_a.back(), 777.0f);
        EXPECT_EQ(packed_b.back(), 777.0f);
        TestMatrix c(rows, g.cols, g.cols + 9);
        g.tile(rows, g.words(k), packed_a.data(), packed_b.data(), c.view().data, c.view().stride,
               Write::set);
        EXPECT_TRUE(near(c, expected, f32_tolerance(k))) << "k " << k << " rows " << rows;
        g.tile(rows, g.words(k), packed_a.data(), packed_b.data(), c.view().data, c.view().stride,
               Write::add);
        TestMatrix twice = expected;
        for (float& value : twice.flat()) value *= 2;
        EXPECT_TRUE(near(c, twice, f32_tolerance(k))) << "accumulating, k " << k;
        EXPECT_TRUE(c.padding_intact());
      }
    }
  }
}

TEST_P(GemmKernelTest, PacksBf16AsItPacksWhatRoundsToIt) {
  const GemmKernel& g = *GetParam().kernel;
  if (!GetParam().rounds) return;  // f32 is never packed from bf16
  for (const int64_t k : {1, 2, 21, 32, 67, 128}) {
    for (const int64_t count : {g.cols - 5, g.cols, 3 * g.cols, 3 * g.cols - 7}) {
      // Rows of k values, then rows of `count` values.
      for (const bool along_k : {true, false}) {
        if (along_k && count > g.cols) continue;
        const int64_t rows = along_k ? count : k, cols = along_k ? k : count, stride = cols + 3;
        const TestMatrix source = random_matrix(rows, cols, 1 + k, 1, stride);
        std::vector<bf16> rounded(rows * stride);
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t j = 0; j < cols; ++j) rounded[i * stride + j] = bf16(source(i, j));
        }
        rounded.resize((rows - 1) * stride + cols);  // nothing behind the last value is read
        rounded.shrink_to_fit();
        const auto expect_same = [&](const Packing& of_f32, const PackingOf<bf16>& of_bf16,
                                     int64_t width) {
          const int64_t entries = along_k ? std::min(count, width) : count;
          const int64_t pieces = (entries + width - 1) / width;
          auto expected = room(pieces * g.panel_stride(k, width), 1), packed = expected;
          if (along_k) {
            of_f32.rows(source.view().data, stride, nullptr, entries, width, k, expected.data());
            of_bf16.rows(rounded.data(), stride, nullptr, entries, width, k, packed.data());
          } else {
            of_f32.columns(source.view().data, stride, nullptr, entries, width, k, expected.data());
            of_bf16.columns(rounded.data(), stride, nullptr, entries, width, k, packed.data());
          }
          EXPECT_TRUE(same_words(packed, expected))
              << "k " << k << ", " << entries << " entries, width " << width;
        };
        expect_same(g.b, g.b_of_bf16, g.cols);
        expect_same(g.a, g.a_of_bf16, g.max_rows);
        expect_same(g.a, g.a_of_bf16, g.max_rows - 1);
      }
    }
  }
}

TEST_P(GemmKernelTest, WritesPastTheCachesWhatItWritesIntoThem) {
  const GemmKernel& g = *GetParam().kernel;
  const int64_t rows = g.max_rows;
  for (const int64_t k : {3, 32, 40}) {
    const TestMatrix a = random_matrix(rows, k, 1), b = random_matrix(g.cols, k, 2);
    auto packed_a = room(g.words(k), rows), packed_b = room(g.words(k), g.cols);
    g.a.rows(a.view().data, k, nullptr, rows, rows, k, packed_a.data());
    g.b.rows(b.view().data, k, nullptr, g.cols, g.cols, k, packed_b.data());
    const auto result = [&](Write write, int64_t offset, int64_t stride) {
      Buffer memory(sizeof(float) * (offset + rows * stride));
      const Matrix c(memory.as<float>() + offset, rows, g.cols, stride);
      for (int64_t i = 0; i < rows * stride; ++i) c.data[i] = 777.0f;
      g.tile(rows, g.words(k), packed_a.data(), packed_b.data(), c.data, stride, write);
      return std::vector<float>(c.data, c.data + rows * stride);
    };
    // Whole lines; lines that begin, or rows that lie, elsewhere.
    for (const auto& [offset, past_row] : {std::pair{0, 16}, {1, 16}, {0, 3}}) {
      const int64_t stride = g.cols + past_row;
      EXPECT_EQ(result(Write::stream, offset, stride), result(Write::set, offset, stride));
    }
  }
}

TEST_P(GemmKernelTest, SeveralPanelsAtOnceAreThoseOfEachAlone) {
  const GemmKernel& g = *GetParam().kernel;
  for (const int64_t k : {1, 2, 21}) {
    for (const bool tiles : {true, false}) {
      const int64_t width = tiles ? g.max_rows : g.cols;
      const int64_t count = tiles ? 4 * width : 4 * width - 5;
      const auto pack = tiles ? g.a.columns : g.b.columns;
      const TestMatrix source = random_matrix(k, count, 1, 1, count + 3);
      std::vector<float> together(4 * g.panel_stride(k, width));
      pack(source.view().data, source.view().stride, nullptr, count, width, k, together.data());
      for (int64_t i = 0; i < 4; ++i) {
        auto alone = room(g.words(k), width);
        pack(source.view().data + i * width, source.view().stride, nullptr,
             std::min(width, count - i * width), width, k, alone.data());
        for (int64_t j = 0; j < g.words(k) * width; ++j) {
          ASSERT_EQ(together[i * g.panel_stride(k, width) + j], alone[j])
              << "k " << k << ", width " << width << ", panel " << i << ", word " << j;
        }
      }
    }
  }
}

TEST_P(GemmKernelTest, GathersWhilePacking) {
  const GemmKernel& g = *GetParam().kernel;
  const int64_t k = 21;
  const std::vector<int32_t> index = random_ids(std::max<int64_t>(k, g.max_rows), 50, 3);
  const TestMatrix table = random_matrix(50, 40, 4);
  TestMatrix gathered(k, g.cols);
  for (int64_t p = 0; p < k; ++p) {
    for (int64_t j = 0; j < g.cols; ++j) gathered(p, j) = table(index[p], j);
  }
  auto packed = room(g.words(k), g.cols), expected = packed;
  for (const auto& [packing, width] : {std::pair(g.a, g.max_rows), std::pair(g.b, g.cols)}) {
    packing.columns(table.view().data, table.view().stride, index.data(), width, width, k,
                    packed.data());
    packing.columns(gathered.view().data, gathered.view().stride, nullptr, width, width, k,
                    expected.data());
    EXPECT_TRUE(same_words(packed, expected));
  }

  // No longer than there are rows: what lies behind must not be read.
  const std::vector<int32_t> chosen(index.begin(), index.begin() + g.max_rows);
  TestMatrix rows(g.max_rows, 40);
  for (int64_t i = 0; i < g.max_rows; ++i) {
    for (int64_t j = 0; j < 40; ++j) rows(i, j) = table(chosen[i], j);
  }
  packed = room(g.words(40), std::max(g.max_rows, g.cols)), expected = packed;
  for (const auto& [packing, width] : {std::pair(g.a, g.max_rows), std::pair(g.b, g.cols)}) {
    packing.rows(table.view().data, table.view().stride, chosen.data(), g.max_rows, width, 40,
                 packed.data());
    packing.rows(rows.view().data, rows.view().stride, nullptr, g.max_rows, width, 40,
                 expected.data());
    EXPECT_TRUE(same_words(packed, expected));
  }
}

INSTANTIATE_TEST_SUITE_P(AllInstructionSets, GemmKernelTest,
                         testing::ValuesIn(of_this_machine(kGemmCases)), [](const auto& info) {
                           std::string name = info.param.name;
                           for (char& c : name) {
                             if (c == ' ' || c == '-') c = '_';
                           }
                           return name;
                         });

TEST(GemmKernel, Bf16RoundsToNearestEvenAsTheScalarTypeDoes) {
  const float values[] = {
      1.0f, 0x1.01p0f, 0x1.03p0f, 0x1.010001p0f, -0x1.01p0f, 0x1.fffffep127f, 3.0e38f, 1e-30f,
      0.0f, -0.0f,     INFINITY,  -INFINITY,     NAN,        0x1.018p0f,      123.456f};
  for (const GemmKernel* g : {&avx2::kGemmBf16, &avx512::kGemmBf16}) {
    if (g == &avx512::kGemmBf16 && isa_in_use() < Isa::avx512) continue;
    for (const float value : values) {
      std::vector<float> packed(g->cols + kPackSlack);
      g->a.rows(&value, 1, nullptr, 1, g->cols, 1, packed.data());
      const float expected = round_to_bf16(value);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(packed[0]));
      } else {
        EXPECT_EQ(packed[0], expected) << value;
      }
    }
  }
}

}  // namespace
}  // namespace unmask
