#include "unmask/kernels/reference/quantized.h"

#include "tests/kernels/skewed_assignment.h"
#include "tests/kernels/this_machine.h"
#include "tests/support/numeric.h"
#include <cmath>
#include <string>
#include <vector>

#include "unmask/base/bf16.h"
#include "unmask/kernels/activation_rows.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/tables.h"
#include "unmask/kernels/quantized_experts.h"
#include "unmask/kernels/quantized_linear.h"

namespace unmask {
namespace {

int32_t levels_of(WeightFormat format) { return format == WeightFormat::int8 ? 127 : 7; }

void pack(const QuantizedShape& shape, ConstMatrix w, std::byte* bytes) {
  quantize(shape, w, bytes, reinterpret_cast<bf16*>(bytes + shape.data_bytes()));
}

// A packed matrix that owns its memory.
struct Packed {
  QuantizedShape shape;
  Buffer bytes;

  Packed(QuantizedShape s, const TestMatrix& w) : shape(s), bytes(static_cast<size_t>(s.bytes())) {
    pack(s, w.view(), bytes.data());
  }
  QuantizedMatrix matrix() const { return matrix_at(shape, bytes.data()); }
};

QuantizedShape shape_of(WeightFormat format, int64_t rows, int64_t cols, int32_t group) {
  return {format, rows, cols, format == WeightFormat::bf16 ? 0 : group};
}

struct PackedShape {
  int64_t n, in, out;
  int32_t group;
};
// Ragged tails in every dimension, one row, more rows than any block, depths of several groups.
const PackedShape kPackedShapes[] = {{1, 1, 1, 32},     {3, 5, 7, 32},     {12, 64, 32, 64},
                                     {33, 97, 65, 32},  {13, 200, 40, 64}, {30, 1100, 33, 128},
                                     {70, 256, 96, 128}};

class Formats : public testing::TestWithParam<WeightFormat> {};
INSTANTIATE_TEST_SUITE_P(Quantized, Formats, testing::ValuesIn(kWeightFormats),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST_P(Formats, WeightsAreWithinHalfAScale) {
  const TestMatrix w = random_matrix(37, 150, 1);
  const Packed packed(shape_of(GetParam(), 37, 150, 64), w);
  for (int64_t i = 0; i < 37; ++i) {
    for (int64_t j = 0; j < 150; ++j) {
      const float value = w.view()(i, j), stored = reference::weight(packed.matrix(), i, j);
      if (GetParam() == WeightFormat::bf16) {
        EXPECT_EQ(stored, round_to_bf16(value));
        continue;
      }
      double largest = 0;
      for (int64_t k = j / 64 * 64; k < std::min<int64_t>(150, j / 64 * 64 + 64); ++k) {
        largest = std::max<double>(largest, std::abs(w.view()(i, k)));
      }
      EXPECT_LE(std::abs(value - stored),
                largest / levels_of(GetParam()) / 2 * (1 + 2 * kEpsilonBf16) + kEpsilonF32);
    }
  }
}

TEST_P(Formats, GroupsOfZerosAndOfTinyWeightsAreZeros) {
  TestMatrix w(2, 64);
  w.view()(0, 3) = 1e-44f;
  w.view()(1, 40) = -2.0f;
  const Packed packed(shape_of(GetParam(), 2, 64, 32), w);
  EXPECT_NEAR(reference::weight(packed.matrix(), 0, 3), 0.0f, 1e-38f);
  EXPECT_EQ(reference::weight(packed.matrix(), 1, 3), 0.0f);
  EXPECT_NEAR(reference::weight(packed.matrix(), 1, 40), -2.0f, 2 * kEpsilonBf16 * 2);
}

// 1 over so small a scale would be infinite, and 0 times that no number.
TEST_P(Formats, AGroupOfWeightsBelowAnyScaleIsZeros) {
  if (GetParam() == WeightFormat::bf16) return;
  TestMatrix w(1, 32);
  w.view()(0, 3) = 1e-38f;
  const Packed packed(shape_of(GetParam(), 1, 32, 32), w);
  for (int64_t k = 0; k < 32; ++k) EXPECT_EQ(reference::weight(packed.matrix(), 0, k), 0.0f);
}

TEST_P(Formats, LinearAgreesWithTheTwin) {
  for (const auto [n, in, out, group] : kPackedShapes) {
    SCOPED_TRACE(testing::Message() << n << " x " << in << " -> " << out << ", group " << group);
    const TestMatrix x = random_matrix(n, in, 1, 1, in + 5), bias = random_matrix(1, out, 3);
    const Packed w(shape_of(GetParam(), out, in, group), random_matrix(out, in, 2));
    TestMatrix y(n, out, out + 3), expected(n, out);
    for (const ConstMatrix b : {ConstMatrix(bias), ConstMatrix()}) {
      linear_forward(x, w.matrix(), b, y);
      reference::linear_forward(x, w.matrix(), b, expected);
      EXPECT_TRUE(near(y, expected, f32_tolerance(in)));
      EXPECT_TRUE(y.padding_intact());
    }
  }
}

// What rounding may cost, from the formats alone:
//   |y - exact| <= sum over k of |w| dx + |x| dw + dx dw
// with dw and dx half a scale of the group and of the row (bf16: epsilon of each factor).
TEST_P(Formats, LinearIsWithinTheErrorOfItsFormat) {
  const int64_t n = 9, in = 384, out = 50;
  const int32_t group = 64;
  const TestMatrix x = random_matrix(n, in, 1), w = random_matrix(out, in, 2);
  const Packed packed(shape_of(GetParam(), out, in, group), w);
  TestMatrix y(n, out);
  linear_forward(x, packed.matrix(), {}, y);
  const bool integers = GetParam() != WeightFormat::bf16;
  double worst = 0;
  for (int64_t r = 0; r < n; ++r) {
    double largest_x = 0;
    for (int64_t k = 0; k < in; ++k)
      largest_x = std::max<double>(largest_x, std::abs(x.view()(r, k)));
    for (int64_t j = 0; j < out; ++j) {
      double exact = 0, bound = 0, size = 0;
      for (int64_t g = 0; g < in; g += group) {
        double largest_w = 0;
        for (int64_t k = g; k < g + group; ++k) {
          largest_w = std::max<double>(largest_w, std::abs(w.view()(j, k)));
        }
        for (int64_t k = g; k < g + group; ++k) {
          const double a = x.view()(r, k), b = w.view()(j, k);
          const double dx = integers ? largest_x / 254 : kEpsilonBf16 * std::abs(a);
          const double dw = integers
                                ? largest_w / (2 * levels_of(GetParam())) * (1 + 2 * kEpsilonBf16)
                                : kEpsilonBf16 * std::abs(b);
          exact += a * b;
          size += std::abs(a * b);
          bound += std::abs(b) * dx + std::abs(a) * dw + dx * dw;
        }
      }
      bound += f32_tolerance(in) * size;
      EXPECT_LE(std::abs(y.view()(r, j) - exact), bound);
      worst = std::max(worst, std::abs(y.view()(r, j) - exact) / bound);
    }
  }
  EXPECT_GT(worst, 0.005);  // a bound that says something
}

TEST_P(Formats, RowsThatAreNotFiniteStayVisible) {
  const Packed w(shape_of(GetParam(), 40, 64, 64), random_matrix(40, 64, 2));
  for (const float bad : {INFINITY, NAN}) {
    TestMatrix x = random_matrix(3, 64, 1), y(3, 40), good(3, 40);
    linear_forward(x, w.matrix(), {}, good);
    x.view()(1, 7) = bad;
    linear_forward(x, w.matrix(), {}, y);
    for (int64_t j = 0; j < 40; ++j) {
      EXPECT_FALSE(std::isfinite(y.view()(1, j)));
      EXPECT_EQ(y.view()(0, j), good.view()(0, j));
      EXPECT_EQ(y.view()(2, j), good.view()(2, j));
    }
  }
}

using test::Skew;
struct PackedCase {
  int32_t tokens, experts, per_token;
  int64_t hidden, ffn;
  int32_t group;
  Skew skew;
};
const PackedCase kPackedCases[] = {
    {1, 1, 1, 16, 16, 32, Skew::even},     {17, 4, 2, 33, 21, 32, Skew::even},
    {40, 16, 3, 64, 48, 32, Skew::ragged}, {256, 6, 2, 70, 40, 64, Skew::one_hot},
    {12, 8, 2, 32, 32, 32, Skew::empty},   {32, 40, 8, 256, 128, 128, Skew::even},
    {1, 30, 8, 128, 64, 64, Skew::ragged},
};

Assignment make_assignment(const PackedCase& c) {
  return test::skewed_assignment(c.tokens, c.experts, c.per_token, c.skew);
}

struct PackedLayer {
  ExpertForm form;
  Buffer bytes;
  std::vector<const std::byte*> records;

  PackedLayer(const PackedCase& c, WeightFormat format)
      : form{shape_of(format, c.ffn, c.hidden, c.group),
             shape_of(format, c.hidden, c.ffn, c.group)},
        bytes(static_cast<size_t>(c.experts * form.bytes())) {
    const auto random = [](int64_t rows, int64_t cols, uint64_t seed) {
      return random_matrix(rows, cols, seed, 1 / std::sqrt(static_cast<float>(cols)));
    };
    for (int32_t e = 0; e < c.experts; ++e) {
      std::byte* const record = bytes.data() + e * form.bytes();
      const auto seed = static_cast<uint64_t>(100 * e);
      pack(form.up, random(c.ffn, c.hidden, seed + 11).view(), record);
      pack(form.up, random(c.ffn, c.hidden, seed + 12).view(), record + form.up.bytes());
      pack(form.down, random(c.hidden, c.ffn, seed + 13).view(), record + 2 * form.up.bytes());
      records.push_back(record);
    }
  }
  QuantizedExperts weights() const { return {form, records}; }
};

// The output of the first product is quantized again, and the twin's f64 sums may put a value near
// the middle of two levels on the other side: one such slip is one level of the row, at most
// 1/127 of its largest value, against one weight.
double slip(WeightFormat format) {
  return format == WeightFormat::bf16 ? 2 * kEpsilonBf16 : 2.0 / 127;
}

TEST_P(Formats, ExpertsAgreeWithTheTwinUnderAnySkew) {
  for (const PackedCase& c : kPackedCases) {
    SCOPED_TRACE(testing::Message() << c.tokens << " tokens, " << c.experts << " experts, "
                                    << c.hidden << " x " << c.ffn);
    const Assignment a = make_assignment(c);
    const PackedLayer layer(c, GetParam());
    const TestMatrix x = random_matrix(c.tokens, c.hidden, 14);
    TestMatrix y = random_matrix(c.tokens, c.hidden, 20), expected = y;
    experts_forward(x, layer.weights(), a, y);
    reference::experts_forward(x, layer.weights(), a, expected);
    EXPECT_TRUE(near(y, expected, f32_tolerance(c.hidden + c.ffn) + slip(GetParam())));

    // Slips are rare: nearly every value agrees to the rounding of f32.
    int64_t far = 0;
    const double close = f32_tolerance(c.hidden + c.ffn) * max_abs(expected);
    for (int64_t i = 0; i < y.view().size(); ++i) {
      far += !(std::abs(y.flat()[i] - expected.flat()[i]) <= close);
    }
    EXPECT_LE(far, y.view().size() / 10);
  }
}

TEST_P(Formats, ExpertsDoNotDependOnThreads) {
  const PackedCase c = {50, 9, 3, 96, 72, 32, Skew::one_hot};
  const PackedLayer layer(c, GetParam());
  const TestMatrix x = random_matrix(c.tokens, c.hidden, 14);
  const auto run = [&](int threads) {
    const ThreadCount scope(threads);
    TestMatrix y = random_matrix(c.tokens, c.hidden, 20);
    experts_forward(x, layer.weights(), make_assignment(c), y);
    return y;
  };
  EXPECT_EQ(run(1), run(2));
  EXPECT_EQ(run(1), run(7));
}

TEST_P(Formats, FeedForwardIsOneExpertThatTakesEveryToken) {
  const PackedCase c = {50, 1, 1, 40, 36, 32, Skew::even};
  Assignment a = make_assignment(c);
  std::fill(a.gate.begin(), a.gate.end(), 1.0f);
  const PackedLayer layer(c, GetParam());
  const TestMatrix x = random_matrix(c.tokens, c.hidden, 1);
  TestMatrix y = random_matrix(c.tokens, c.hidden, 3), expected = y;
  feed_forward_forward(x, {layer.form, layer.records[0]}, y);
  experts_forward(x, layer.weights(), a, expected);
  EXPECT_EQ(y, expected);
}

struct KernelCase {
  const char* name;
  Isa needs;
  WeightFormat format;
  const QuantizedKernel* kernel;
};
const KernelCase kKernels[] = {
    {"avx2_bf16", Isa::avx2, WeightFormat::bf16, &avx2::kBf16},
    {"avx2_int8", Isa::avx2, WeightFormat::int8, &avx2::kInt8},
    {"avx2_int4", Isa::avx2, WeightFormat::int4, &avx2::kInt4},
    {"avx512_bf16_in_f32", Isa::avx512, WeightFormat::bf16, &avx512::kBf16},
    {"avx512_int8", Isa::avx512, WeightFormat::int8, &avx512::kInt8},
    {"avx512_int4", Isa::avx512, WeightFormat::int4, &avx512::kInt4},
    {"avx512_vnni_int8", Isa::avx512_vnni, WeightFormat::int8, &avx512_vnni::kInt8},
    {"avx512_vnni_int4", Isa::avx512_vnni, WeightFormat::int4, &avx512_vnni::kInt4},
    {"avx512_bf16_dot", Isa::avx512_bf16, WeightFormat::bf16, &avx512_bf16::kBf16},
    {"matrix_bf16_spelled_out", Isa::avx2, WeightFormat::bf16, &avx2::kBf16Matrix},
    {"matrix_int8_spelled_out", Isa::avx2, WeightFormat::int8, &avx2::kInt8Matrix},
    {"matrix_int4_spelled_out", Isa::avx2, WeightFormat::int4, &avx2::kInt4Matrix},
    {"amx_bf16", Isa::amx, WeightFormat::bf16, &amx::kBf16},
    {"amx_int8", Isa::amx, WeightFormat::int8, &amx::kInt8},
    {"amx_int4", Isa::amx, WeightFormat::int4, &amx::kInt4},
};

class QuantizedKernels : public testing::TestWithParam<KernelCase> {};
INSTANTIATE_TEST_SUITE_P(AllInstructionSets, QuantizedKernels,
                         testing::ValuesIn(of_this_machine(kKernels)),
                         [](const auto& info) { return std::string(info.param.name); });

// Every height of a block, on every instruction set this machine has, the largest levels included.
TEST_P(QuantizedKernels, TilesOfAnyHeightAgreeWithTheTwin) {
  const KernelCase& c = GetParam();
  // Three whole groups and one with a tail; of bf16 whole registers (quantized_kernel).
  const int64_t in = c.format == WeightFormat::bf16 ? 224 : 200;
  for (const bool extreme : {false, true}) {
    TestMatrix w = random_matrix(32, in, 2);
    TestMatrix x = random_matrix(c.kernel->max_rows, in, 1);
    if (extreme) {
      for (float& v : w.flat()) v = std::copysign(1.0f, v);
      for (float& v : x.flat()) v = 1.0f;
      for (int64_t k = 0; k < in; ++k) w.view()(5, k) = 1.0f;
    }
    const Packed packed(shape_of(c.format, 32, in, 64), w);
    const QuantizedShape& s = packed.shape;
    const QuantizedMatrix matrix = packed.matrix();
    for (int64_t rows = 1; rows <= c.kernel->max_rows; ++rows) {
      const ActivationRows converted(thread_scratch(), s, rows);
      const InterleavedBlocks blocks(thread_scratch(), *c.kernel, s, rows);
      const RowBlocks cut(rows, c.kernel->max_rows);
      for (int64_t b = 0; b < cut.count; ++b) {
        blocks.fill(cut.first(b), cut.height(b), [&](int64_t i) {
          convert_row(s, x.view().row(cut.first(b) + i), converted[cut.first(b) + i]);
          return converted[cut.first(b) + i];
        });
      }
      TestMatrix out(rows, 32), expected(rows, 32);
      const TileOf tile = {matrix, 0};
      multiply_tile(tile, blocks, 0, rows, tile, out.view().data);
      reference::linear_forward(ConstMatrix(x.view()).row_range(0, rows), packed.matrix(), {},
                                expected);
      EXPECT_TRUE(near(out, expected, f32_tolerance(in))) << rows << " rows";
    }
  }
}

}  // namespace
}  // namespace unmask
