#include "unmask/kernels/attention.h"

#include "tests/support/numeric.h"
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/kernels/attention_patterns.h"
#include "unmask/kernels/isa/gemm_kernel.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/attention.h"

namespace unmask {
namespace {

struct AttentionCase {
  std::string name;
  AttentionShape shape;
  int32_t queries, keys;
  int64_t most_keys;  // of any query
  AttentionPattern pattern;
};

std::ostream& operator<<(std::ostream& stream, const AttentionCase& c) { return stream << c.name; }

AttentionShape shape_of(int32_t heads, int32_t kv_heads, int32_t head_dim) {
  return {heads, kv_heads, head_dim, 1.0f / std::sqrt(static_cast<float>(head_dim))};
}

template <class Build>
AttentionPattern built(Build&& build) {
  AttentionPattern pattern;
  build(pattern);
  return pattern;
}

std::vector<AttentionCase> cases() {
  static const std::vector<int32_t> ragged = {0, 1, 34, 34, 100, 157}, real = {1, 30, 0, 66, 13};
  static const std::vector<int32_t> long_one = {0, 1030}, two = {0, 150, 290}, halves = {70, 61};
  static const std::vector<int32_t> documents = {17, 50, 51, 120};
  std::vector<AttentionCase> list;
  for (const int32_t d : {16, 20, 32, 64, 96, 128}) {
    list.push_back(
        {"full_d" + std::to_string(d), shape_of(2, 1, d), 157, 157, 66, built([](auto& p) {
           full_attention({ragged, real}, p);
         })});
  }
  list.push_back({"document", shape_of(4, 2, 32), 157, 157, 57, built([](auto& p) {
                    document_attention({ragged, {}}, documents, p);
                  })});
  for (const int32_t block : {1, 4, 32, 50}) {
    list.push_back({"block_causal_" + std::to_string(block), shape_of(2, 2, 32), 157, 157, 66,
                    built([&](auto& p) {
                      block_causal_attention({ragged, real}, block, p);
                    })});
    list.push_back({"block_diffusion_" + std::to_string(block), shape_of(2, 2, 16), 290, 290, 140,
                    built([&](auto& p) {
                      block_diffusion_attention({two, halves}, block, p);
                    })});
  }
  // One long sequence: several stretches of queries, keys in parts.
  list.push_back({"long", shape_of(1, 1, 16), 1030, 1030, 1030, built([](auto& p) {
                    full_attention({long_one, {}}, p);
                  })});
  // Decoding: queries and keys in different tables, the first and last query in no span, the
  // second span without keys, a gap of queries between spans.
  AttentionPattern decode;
  decode.spans = {{1, 9, 0, 2}, {9, 11, 2, 2}, {13, 40, 2, 3}};
  decode.ranges = {{3, 70}, {90, 97}, {3, 130}};
  decode.groups = {{0, 3, 3, 130}};
  list.push_back({"decode", shape_of(6, 2, 32), 42, 200, 127, decode});
  // A block behind a long cache: several runs of keys, each met once.
  AttentionPattern behind;
  behind.spans = {{0, 20, 0, 1}, {20, 34, 1, 2}};
  behind.ranges = {{5, 650}, {5, 682}};
  behind.groups = {{0, 2, 5, 682}};
  list.push_back({"long_cache", shape_of(4, 2, 32), 34, 700, 677, behind});
  // Two groups whose keys interleave, and keys that nobody attends to.
  AttentionPattern interleaved;
  interleaved.spans = {{0, 20, 0, 2}, {20, 33, 2, 4}};
  interleaved.ranges = {{0, 10}, {40, 60}, {15, 30}, {61, 90}};
  interleaved.groups = {{0, 1, 0, 60}, {1, 2, 15, 90}};
  list.push_back({"interleaved", shape_of(2, 1, 24), 33, 95, 44, interleaved});
  list.push_back({"nothing", shape_of(2, 1, 32), 5, 7, 1, {}});
  return list;
}

// q in one table, k and v in another, side by side with what belongs to others, as in a qkv table.
struct Attention {
  const AttentionCase& c;
  Precision precision = Precision::f32;
  int64_t q_cols = int64_t{c.shape.heads} * c.shape.head_dim;
  int64_t kv_cols = int64_t{c.shape.kv_heads} * c.shape.head_dim;
  TestMatrix q = random_matrix(c.queries, q_cols, 1, 1.0f, q_cols + 7);
  TestMatrix kv = random_matrix(c.keys, 2 * kv_cols, 2, 1.0f, 2 * kv_cols + 3);
  TestMatrix d_out = random_matrix(c.queries, q_cols, 3, 1.0f, q_cols + 1);
  TestMatrix out{c.queries, q_cols, q_cols + 5};
  TestMatrix log_sum_exp{c.queries, c.shape.heads};
  TestMatrix dq{c.queries, q_cols, q_cols + 2};
  TestMatrix d_kv{c.keys, 2 * kv_cols, 2 * kv_cols + 9};

  Matrix k() { return kv.view().col_range(0, kv_cols); }
  Matrix v() { return kv.view().col_range(kv_cols, kv_cols); }
  Matrix dk() { return d_kv.view().col_range(0, kv_cols); }
  Matrix dv() { return d_kv.view().col_range(kv_cols, kv_cols); }

  void spoil() {
    for (Matrix m : {out.view(), log_sum_exp.view(), dq.view(), d_kv.view()}) {
      for (int64_t i = 0; i < m.rows; ++i) std::fill_n(m.row(i), m.cols, 1e30f);
    }
  }
  void forward() {
    attention_forward(q, k(), v(), c.pattern, c.shape, out, log_sum_exp, precision);
  }
  void backward() {
    attention_backward(q, k(), v(), out, log_sum_exp, d_out, c.pattern, c.shape, dq, dk(), dv(),
                       precision);
  }
  void run() {
    spoil();
    forward();
    backward();
  }
  void run_reference() {
    spoil();
    reference::attention_forward(q, k(), v(), c.pattern, c.shape, out, log_sum_exp, precision);
    backward_reference();
  }
  void backward_reference() {
    reference::attention_backward(q, k(), v(), out, log_sum_exp, d_out, c.pattern, c.shape, dq,
                                  dk(), dv(), precision);
  }
  bool padding_intact() const {
    return q.padding_intact() && kv.padding_intact() && out.padding_intact() &&
           dq.padding_intact() && d_kv.padding_intact();
  }
};

class AttentionCases : public testing::TestWithParam<AttentionCase> {};

// A weight is the exponential of a sum of d products and carries its error as a relative one; the
// output sums such weights over the keys.
double forward_tolerance(const AttentionCase& c) {
  return f32_tolerance(c.shape.head_dim) + f32_tolerance(c.most_keys);
}
// ds multiplies a weight with the difference of two sums of d products, and is itself summed over
// keys, or over the queries and heads that share a key.
double backward_tolerance(const AttentionCase& c) {
  return 3 * f32_tolerance(c.shape.head_dim) +
         f32_tolerance(c.most_keys * (c.shape.heads / c.shape.kv_heads));
}

TEST_P(AttentionCases, AgreesWithReference) {
  Attention fast{GetParam()}, plain{GetParam()};
  fast.run();
  plain.run_reference();
  const double forward = forward_tolerance(GetParam()), backward = backward_tolerance(GetParam());
  EXPECT_TRUE(near(fast.out, plain.out, forward));
  for (int64_t i = 0; i < fast.log_sum_exp.rows(); ++i) {
    for (int64_t h = 0; h < fast.log_sum_exp.cols(); ++h) {
      const float a = fast.log_sum_exp(i, h), b = plain.log_sum_exp(i, h);
      if (std::isinf(b)) {
        EXPECT_EQ(a, b);
      } else {
        EXPECT_NEAR(a, b, forward * std::max(1.0f, std::abs(b)));
      }
    }
  }
  EXPECT_TRUE(near(fast.dq, plain.dq, backward));
  EXPECT_TRUE(near(fast.dk(), plain.dk(), backward));
  EXPECT_TRUE(near(fast.dv(), plain.dv(), backward));
  EXPECT_TRUE(fast.padding_intact());
}

double root_mean_square_difference(ConstMatrix a, ConstMatrix b) {
  double sum = 0;
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.cols; ++j) {
      const double difference = static_cast<double>(a(i, j)) - b(i, j);
      sum += difference * difference;
    }
  }
  return std::sqrt(sum / static_cast<double>(a.size()));
}

// The reference rounds the same factors. What may differ is a weight (or ds) that lies so near the
// middle between two bf16 values that its f32 error takes it to the other side: rare, so an output
// sees a few such steps of 2 epsilon of one term each; two whole ones of the largest term cover it.
TEST_P(AttentionCases, AgreesWithReferenceInBf16) {
  Attention fast{GetParam(), Precision::bf16}, plain{GetParam(), Precision::bf16};
  Attention unrounded{GetParam()};
  fast.run();
  plain.run_reference();
  unrounded.run_reference();
  // Leaving any one of the factors unrounded would take a good part of the way to f32.
  const auto expect_near = [](ConstMatrix actual, ConstMatrix expected, ConstMatrix f32,
                              double tolerance) {
    EXPECT_TRUE(near(actual, expected, tolerance));
    EXPECT_LE(root_mean_square_difference(actual, expected),
              0.2 * root_mean_square_difference(f32, expected));
  };
  expect_near(fast.out, plain.out, unrounded.out, forward_tolerance(GetParam()) + 2 * kEpsilonBf16);
  // Backward from the same point.
  for (Attention* attention : {&plain, &unrounded}) {
    attention->out = fast.out;
    attention->log_sum_exp = fast.log_sum_exp;
    attention->backward_reference();
  }
  const double tolerance = backward_tolerance(GetParam()) + 2 * kEpsilonBf16;
  expect_near(fast.dq, plain.dq, unrounded.dq, tolerance);
  expect_near(fast.dk(), plain.dk(), unrounded.dk(), tolerance);
  expect_near(fast.dv(), plain.dv(), unrounded.dv(), tolerance);
}

// Heads one after the other, with room between them and between rows.
template <class T>
struct SeparateHeads {
  int64_t heads, rows, head_dim, row_stride = head_dim + 3, head_stride = rows * row_stride + 5;
  std::vector<T> values = std::vector<T>(heads * head_stride);

  SeparateHeads(ConstMatrix table, const AttentionShape& shape)
      : heads(shape.kv_heads), rows(table.rows), head_dim(shape.head_dim) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < head_dim; ++j) {
          values[h * head_stride + i * row_stride + j] = static_cast<T>(table(i, h * head_dim + j));
        }
      }
    }
  }
  HeadTable<const T> view() const {
    return {values.data(), heads, rows, head_dim, head_stride, row_stride};
  }
};

template <class T>
void expect_bits_of_one_table(const AttentionCase& c, Precision precision) {
  Attention table{c, precision}, separate{c, precision};
  table.spoil();
  separate.spoil();
  table.forward();
  const SeparateHeads<T> k(separate.k(), c.shape), v(separate.v(), c.shape);
  attention_forward(separate.q, k.view(), v.view(), c.pattern, c.shape, separate.out, precision);
  EXPECT_EQ(separate.out, table.out);
  EXPECT_TRUE(separate.padding_intact());
}

TEST_P(AttentionCases, KeysAndValuesOfACacheGiveTheBitsOfOneTable) {
  expect_bits_of_one_table<float>(GetParam(), Precision::f32);
  expect_bits_of_one_table<float>(GetParam(), Precision::bf16);
  expect_bits_of_one_table<bf16>(GetParam(), Precision::bf16);
}

TEST_P(AttentionCases, DoesNotDependOnThreads) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    Attention one{GetParam(), precision}, many{GetParam(), precision};
    {
      ThreadCount threads(1);
      one.run();
    }
    {
      ThreadCount threads(8);  // the heads of "decode" in parts
      many.run();
    }
    EXPECT_EQ(one.out, many.out);
    EXPECT_EQ(one.log_sum_exp, many.log_sum_exp);
    EXPECT_EQ(one.dq, many.dq);
    EXPECT_EQ(one.d_kv, many.d_kv);
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionCases, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

// A block of queries behind runs of keys, two of which were packed in their place.
template <class T>
void expect_bits_of_rows(int32_t head_dim, Precision precision) {
  if (!packs_in_place(head_dim, precision)) return;
  constexpr int32_t kQueries = 40, kPacked = 2 * kKeysPerRun;
  constexpr int32_t kKeys = kPacked + kKeysPerRun + kQueries;
  const AttentionShape shape = shape_of(4, 2, head_dim);
  AttentionPattern pattern;
  block_causal_attention_from(kKeys - kQueries, kKeys, 32, pattern);
  const TestMatrix q = random_matrix(kQueries, int64_t{4} * head_dim, 1);
  const int64_t size = int64_t{kKeys} * head_dim;
  std::vector<T> kv(static_cast<size_t>(4 * size + kPackSlack * 2));
  const TestMatrix values = random_matrix(1, 4 * size, 2);
  for (int64_t i = 0; i < 4 * size; ++i) kv[i] = static_cast<T>(values(0, i));
  const auto table = [&](int64_t first) {
    return HeadTable<T>{kv.data() + first * size, 2, kKeys, head_dim, size, head_dim};
  };
  HeadTable<T> k = table(0), v = table(2);
  const auto attend = [&] {
    TestMatrix out{kQueries, int64_t{4} * head_dim};
    attention_forward(q, read_only(k), read_only(v), pattern, shape, out, precision);
    return out;
  };
  const TestMatrix of_rows = attend();
  const std::vector<T> rows = kv;
  pack_in_place(k, v, kKeysPerRun + 1, precision);
  EXPECT_EQ(k.packed_rows, kKeysPerRun);
  pack_in_place(k, v, kPacked, precision);
  EXPECT_NE(std::memcmp(rows.data(), kv.data(), rows.size() * sizeof(T)), 0);
  EXPECT_EQ(k.packed_rows, kPacked);
  EXPECT_EQ(v.packed_rows, kPacked);
  EXPECT_EQ(attend(), of_rows);
}

TEST(Attention, KeysPackedInTheirPlaceGiveTheBitsOfRows) {
  for (const int32_t head_dim : {32, 64, 128, 160}) {
    expect_bits_of_rows<float>(head_dim, Precision::f32);
    expect_bits_of_rows<bf16>(head_dim, Precision::bf16);
  }
}

TEST(Attention, PacksInPlaceWhatFillsItsWords) {
  const bool fast = !use_reference_kernels();
  EXPECT_EQ(packs_in_place(32, Precision::f32), fast);
  EXPECT_EQ(packs_in_place(128, Precision::bf16), fast && gemm_kernel(Precision::bf16).depth == 2);
  EXPECT_FALSE(packs_in_place(33, Precision::bf16));
}

TEST(Attention, GradientsAgreeWithFiniteDifferences) {
  const std::vector<int32_t> begin = {0, 10, 46};
  const std::vector<int32_t> length = {4, 17};
  AttentionCase c{"", shape_of(4, 2, 16),
                  46, 46,
                  34, built([&](auto& p) { block_diffusion_attention({begin, length}, 4, p); })};
  Attention attention{c};
  attention.run();
  const auto loss = [&] {
    attention.forward();
    return weighted_loss(attention.d_out, attention.out);
  };
  EXPECT_TRUE(gradient_matches(attention.q, attention.dq, loss));
  EXPECT_TRUE(gradient_matches(attention.k(), attention.dk(), loss));
  EXPECT_TRUE(gradient_matches(attention.v(), attention.dv(), loss));
}

TEST(Attention, ForwardAloneNeedsNoLogSumExp) {
  const AttentionCase c = cases().front();
  Attention with{c}, without{c};
  with.forward();
  attention_forward(without.q, without.k(), without.v(), c.pattern, c.shape, without.out, {},
                    Precision::f32);
  EXPECT_EQ(with.out, without.out);
}

// Scores of several thousand: the exponentials would overflow and vanish without the running
// maximum, which must rise from run to run.
TEST(Attention, SurvivesLargeScores) {
  const std::vector<int32_t> begin = {0, 600};
  AttentionCase c{"",  shape_of(1, 1, 32),
                  600, 600,
                  600, built([&](auto& p) { full_attention({begin, {}}, p); })};
  Attention fast{c}, plain{c};
  for (Attention* attention : {&fast, &plain}) {
    for (int64_t i = 0; i < 600; ++i) {
      for (int64_t j = 0; j < 32; ++j) {
        attention->q(i, j) = i % 3 == 0 ? -20.0f : 20.0f;
        attention->kv(i, j) = static_cast<float>(i) / 30;
      }
    }
  }
  fast.run();
  plain.run_reference();
  // Scores of s have errors of epsilon s, which are relative errors of the weights.
  const double tolerance = forward_tolerance(c) + 4 * kEpsilonF32 * std::sqrt(32.0) * 20 * 20;
  EXPECT_TRUE(near(fast.out, plain.out, tolerance));
  EXPECT_TRUE(near(fast.dv(), plain.dv(), tolerance));
}

// A sequence gives the same rows whatever else is in the batch and however it is padded.
TEST(Attention, DoesNotSeeOtherSequencesNorPadding) {
  const std::vector<int32_t> alone = {0, 41}, batch = {0, 60, 110}, length = {41, 50};
  AttentionCase small{
      "", shape_of(2, 2, 32), 41, 41, 41, built([&](auto& p) { full_attention({alone, {}}, p); })};
  AttentionCase large{"",  shape_of(2, 2, 32),
                      110, 110,
                      50,  built([&](auto& p) { full_attention({batch, length}, p); })};
  Attention a{small}, b{large};
  for (int64_t i = 0; i < 41; ++i) {
    for (int64_t j = 0; j < 64; ++j) b.q(i, j) = a.q(i, j);
    for (int64_t j = 0; j < 128; ++j) b.kv(i, j) = a.kv(i, j);
    for (int64_t j = 0; j < 64; ++j) b.d_out(i, j) = a.d_out(i, j);
  }
  a.run();
  b.run();
  for (int64_t i = 0; i < 60; ++i) {
    for (int64_t j = 0; j < 64; ++j) {
      EXPECT_EQ(b.out(i, j), i < 41 ? a.out(i, j) : 0.0f);
      EXPECT_EQ(b.dq(i, j), i < 41 ? a.dq(i, j) : 0.0f);
    }
    for (int64_t j = 0; j < 128; ++j) EXPECT_EQ(b.d_kv(i, j), i < 41 ? a.d_kv(i, j) : 0.0f);
  }
}

}  // namespace
}  // namespace unmask
