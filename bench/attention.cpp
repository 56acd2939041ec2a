// Attention, forward and backward, at the shapes of the training sizes S, M and L, and of a block
// of LLaDA2-mini that is decoded behind a cache: bench_attention
#include "unmask/kernels/attention.h"

#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "unmask/kernels/attention_patterns.h"
#include "unmask/kernels/isa/gemm_kernel.h"

namespace unmask {
namespace {

struct Size {
  const char* name;
  int32_t sequences, length, heads, kv_heads, head_dim;
  int32_t block = 0;  // > 0: block diffusion over [noisy | clean] of `length` rows together
};

constexpr Size kSizes[] = {
    {"S", 16, 256, 4, 4, 32},
    {"M", 16, 256, 8, 8, 32},
    {"L", 16, 256, 8, 8, 64},
    {"long", 1, 2048, 8, 2, 64},
    {"block_diffusion", 4, 1024, 8, 8, 64, 32},
};

struct Problem {
  explicit Problem(const Size& size)
      : shape{size.heads, size.kv_heads, size.head_dim,
              1.0f / std::sqrt(static_cast<float>(size.head_dim))},
        rows(int64_t{size.sequences} * size.length),
        q_cols(int64_t{size.heads} * size.head_dim),
        kv_cols(int64_t{size.kv_heads} * size.head_dim),
        qkv(rows * (q_cols + 2 * kv_cols)),
        d_qkv(qkv.size()),
        out(rows * q_cols),
        d_out(rows * q_cols),
        log_sum_exp(rows * size.heads) {
    std::vector<int32_t> begin;
    for (int32_t b = 0; b <= size.sequences; ++b) begin.push_back(b * size.length);
    if (size.block > 0) {
      block_diffusion_attention({begin, {}}, size.block, pattern);
    } else {
      full_attention({begin, {}}, pattern);
    }
    std::minstd_rand random(1);
    std::normal_distribution<float> normal;
    for (float& x : qkv) x = normal(random);
    for (float& x : d_out) x = normal(random);
    for (const auto& span : pattern.spans) {
      for (int32_t r = span.first_range; r < span.last_range; ++r) {
        pairs += static_cast<double>(span.query_end - span.query_begin) *
                 (pattern.ranges[r].end - pattern.ranges[r].begin);
      }
    }
  }

  Matrix part(std::vector<float>& table, int64_t begin, int64_t cols) {
    return Matrix(table.data(), rows, q_cols + 2 * kv_cols).col_range(begin, cols);
  }
  void forward(Precision precision) {
    attention_forward(part(qkv, 0, q_cols), part(qkv, q_cols, kv_cols),
                      part(qkv, q_cols + kv_cols, kv_cols), pattern, shape,
                      Matrix(out.data(), rows, q_cols),
                      Matrix(log_sum_exp.data(), rows, shape.heads), precision);
  }
  void backward(Precision precision) {
    attention_backward(
        part(qkv, 0, q_cols), part(qkv, q_cols, kv_cols), part(qkv, q_cols + kv_cols, kv_cols),
        Matrix(out.data(), rows, q_cols), Matrix(log_sum_exp.data(), rows, shape.heads),
        Matrix(d_out.data(), rows, q_cols), pattern, shape, part(d_qkv, 0, q_cols),
        part(d_qkv, q_cols, kv_cols), part(d_qkv, q_cols + kv_cols, kv_cols), precision);
  }
  // Two products forward, five backward, over the pairs that attend.
  double flops(int products) const { return products * 2 * pairs * shape.heads * shape.head_dim; }

  AttentionShape shape;
  AttentionPattern pattern;
  int64_t rows, q_cols, kv_cols;
  std::vector<float> qkv, d_qkv, out, d_out, log_sum_exp;
  double pairs = 0;
};

void report(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] = benchmark::Counter(flops * static_cast<double>(state.iterations()),
                                                benchmark::Counter::kIsRate);
}

void forward(benchmark::State& state, const Size& size, Precision precision) {
  Problem problem(size);
  problem.forward(precision);
  for (auto _ : state) problem.forward(precision);
  report(state, problem.flops(2));
}

void backward(benchmark::State& state, const Size& size, Precision precision) {
  Problem problem(size);
  problem.forward(precision);
  problem.backward(precision);
  for (auto _ : state) problem.backward(precision);
  report(state, problem.flops(5));
}

// 32 queries of 16 heads behind as many positions of 4 kv heads, kept as a cache keeps them.
void decode(benchmark::State& state) {
  constexpr int32_t kHeads = 16, kKvHeads = 4, kHeadDim = 128, kQueries = 32;
  const auto context = static_cast<int32_t>(state.range(0));
  const int32_t keys = context + kQueries;
  const AttentionShape shape = {kHeads, kKvHeads, kHeadDim, 1 / std::sqrt(float{kHeadDim})};
  std::minstd_rand random(1);
  std::normal_distribution<float> normal;
  std::vector<float> q(kQueries * kHeads * kHeadDim), out(q.size());
  for (float& x : q) x = normal(random);
  const int64_t head = int64_t{keys} * kHeadDim;
  std::vector<bf16> kv(static_cast<size_t>(2 * kKvHeads * head + 2 * kPackSlack));
  for (bf16& x : kv) x = bf16(normal(random));
  HeadTable<bf16> k = {kv.data(), kKvHeads, keys, kHeadDim, head, kHeadDim}, v = k;
  v.data += kKvHeads * head;
  pack_in_place(k, v, context, Precision::bf16);
  AttentionPattern pattern;
  block_causal_attention_from(context, keys, kQueries, pattern);
  for (auto _ : state) {
    attention_forward(ConstMatrix(q.data(), kQueries, kHeads * kHeadDim), read_only(k),
                      read_only(v), pattern, shape, Matrix(out.data(), kQueries, kHeads * kHeadDim),
                      Precision::bf16);
  }
  report(state, 2.0 * 2 * kQueries * keys * kHeads * kHeadDim);
}

}  // namespace
}  // namespace unmask

int main(int argc, char** argv) {
  using namespace unmask;
  for (const Size& size : kSizes) {
    for (const auto& [precision, name] :
         {std::pair{Precision::f32, "f32"}, std::pair{Precision::bf16, "bf16"}}) {
      const auto label = [&](const char* pass) {
        return std::string("attention/") + size.name + "/" + name + "/" + pass;
      };
      for (auto* run :
           {benchmark::RegisterBenchmark(label("forward").c_str(), forward, size, precision),
            benchmark::RegisterBenchmark(label("backward").c_str(), backward, size, precision)}) {
        run->UseRealTime()->Unit(benchmark::kMillisecond)->MinTime(0.1)->Repetitions(5);
        run->ReportAggregatesOnly();
      }
    }
  }
  auto* run = benchmark::RegisterBenchmark("attention/decode", decode);
  run->Arg(512)->Arg(4096)->Arg(16384)->UseRealTime()->Unit(benchmark::kMillisecond);
  run->MinTime(0.1)->Repetitions(5)->ReportAggregatesOnly();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
