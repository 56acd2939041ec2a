// Grouped experts, forward and forward + backward, as a share of the machine's peak (of_peak) and
// of what the larger of arithmetic and memory allows (of_floor), both measured in the same run.
// Shapes: S, M, L of the training comparison (README), and paper A's small model.
//   bench_experts [--benchmark_filter=L/]
#include "unmask/kernels/experts.h"

#include "tests/support/numeric.h"
#include <map>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "unmask/kernels/elementwise.h"
#include "unmask/kernels/isa/peak_kernel.h"
#include "unmask/kernels/machine.h"
#include "unmask/kernels/measurement.h"

namespace unmask {
namespace {

struct Shape {
  const char* name;
  int32_t tokens, experts, per_token;
  int64_t hidden, ffn;
};
const Shape kShapes[] = {{"S", 4096, 32, 4, 128, 64},
                         {"M", 2048, 64, 8, 256, 128},
                         {"L", 1024, 128, 8, 512, 384},
                         {"paperA", 8192, 512, 32, 512, 384}};

// Even: as expert choice makes it. Uneven: independent uniform choices, as token choice at best.
Assignment make_assignment(const Shape& shape, bool even) {
  std::vector<int32_t> begin = {0}, chosen;
  for (int32_t t = 0; t < shape.tokens; ++t) {
    const auto start =
        even ? t * shape.per_token
             : static_cast<int32_t>(random_below({1, Purpose::synthetic}, shape.experts, t));
    for (int32_t i = 0; i < shape.per_token; ++i) {
      chosen.push_back((start + i * (even ? 1 : 5)) % shape.experts);
    }
    begin.push_back(static_cast<int32_t>(chosen.size()));
  }
  Assignment a;
  a.build_by_token(shape.experts, shape.tokens, begin, chosen);
  std::fill(a.gate.begin(), a.gate.end(), 1.0f / static_cast<float>(shape.per_token));
  return a;
}

// What has to move, each thing once: weights, as bf16 where that is computed with, tokens and their
// results, the tape; gradients of experts are written, as the first pass of a step does.
Work work_of(const Shape& shape, const Assignment& a, Precision precision, bool backward) {
  double touched = 0;
  for (int32_t e = 0; e < a.experts; ++e) touched += a.load(e) > 0;
  const auto hidden = static_cast<double>(shape.hidden), ffn = static_cast<double>(shape.ffn);
  const auto slots = static_cast<double>(a.slots());
  const double weights = touched * 3 * hidden * ffn, tokens = shape.tokens * hidden;
  const double weight_bytes = weights * (precision == Precision::bf16 ? 2 : 4);
  const double forward = weight_bytes + sizeof(float) * (2 * tokens + 2 * slots * ffn);
  const double back = weight_bytes + sizeof(float) * (weights + 3 * tokens + 2 * slots * ffn);
  return {.bytes = forward + (backward ? back : 0),
          .operations = 2.0 * 3 * slots * hidden * ffn * (backward ? 3 : 1)};
}

void run(benchmark::State& state, const Shape& shape, Precision precision, bool even,
         bool backward) {
  const Assignment a = make_assignment(shape, even);
  const int64_t up_rows = shape.experts * shape.ffn, down_rows = shape.experts * shape.hidden;
  Buffer buffer(sizeof(float) * 6 * up_rows * shape.hidden);
  float* next = buffer.as<float>();
  const auto take = [&](int64_t rows, int64_t cols) {
    const Matrix m(next, rows, cols);
    next += rows * cols;
    return m;
  };
  const Matrix gate = take(up_rows, shape.hidden), up = take(up_rows, shape.hidden);
  const Matrix down = take(down_rows, shape.ffn);
  for (int64_t i = 0; i < up_rows * shape.hidden; ++i) {
    gate.data[i] = up.data[i] = down.data[i] = static_cast<float>(i % 17 - 8) * 0.01f;
  }
  const ExpertGradients gradients = {take(up_rows, shape.hidden), take(up_rows, shape.hidden),
                                     take(down_rows, shape.ffn), false};
  ExpertWeights weights = {{gate, up, down}};
  Buffer rounded(sizeof(bf16) * 3 * up_rows * shape.hidden);
  const auto round = [&](ConstMatrix m, bf16* to) {
    copy_as_bf16({m.data, static_cast<size_t>(m.size())}, {to, static_cast<size_t>(m.size())});
    return View<const bf16>(to, m.rows, m.cols);
  };
  if (precision == Precision::bf16) {
    bf16* const to = rounded.as<bf16>();
    weights.rounded = {round(gate, to), round(up, to + gate.size()),
                       round(down, to + 2 * gate.size())};
  }
  const TestMatrix x = random_matrix(shape.tokens, shape.hidden, 1);
  TestMatrix y(shape.tokens, shape.hidden), dx = y;
  std::vector<float> d_gate(a.slots());
  Arena tape;
  ExpertsSaved saved;
  const auto step = [&] {
    tape.reset();
    experts_forward(x, weights, a, y, &tape, &saved, precision);
    if (backward) {
      experts_backward(x, weights, a, saved, x, dx, d_gate, gradients, precision);
    }
  };
  // Once before, to touch all memory for the first time; the peak in turns with the steps.
  step();
  std::vector<double> peaks;
  for (auto _ : state) {
    step();
    state.PauseTiming();
    peaks.push_back(arithmetic_rate(peak_kernel(precision)));
    state.ResumeTiming();
  }
  const Measurement m = {.work = work_of(shape, a, precision, backward),
                         .read_bytes_per_second = measure_read_bandwidth(),
                         .peak = median(peaks)};
  const auto steps = static_cast<double>(state.iterations());
  const auto per_second = [&](double of_step) {
    return benchmark::Counter(of_step * steps, benchmark::Counter::kIsRate);
  };
  state.counters["FLOP/s"] = per_second(m.work.operations);
  state.counters["of_peak"] = per_second(m.compute_seconds());
  state.counters["of_floor"] = per_second(m.floor_seconds());
}

}  // namespace
}  // namespace unmask

int main(int argc, char** argv) {
  using namespace unmask;
  for (const Shape& shape : kShapes) {
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      for (const bool even : {true, false}) {
        for (const bool backward : {false, true}) {
          const std::string name =
              std::string(shape.name) + (precision == Precision::f32 ? "/f32" : "/bf16") +
              (even ? "/even" : "/uneven") + (backward ? "/forward+backward" : "/forward");
          benchmark::RegisterBenchmark(
              name.c_str(),
              [=](benchmark::State& state) { run(state, shape, precision, even, backward); })
              ->Unit(benchmark::kMillisecond)
              ->UseRealTime();
        }
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
