// The router's logits, 2 tokens · out · hidden operations: as unmask makes them (as_they_lie,
// kernels/dots.h) and by the packed product of a dense layer. The weights of many layers take
// turns, so that they come from memory as in a model.
//   bench_dots [--benchmark_enable_random_interleaving --benchmark_repetitions=9]
#include "unmask/kernels/dots.h"

#include <algorithm>
#include <string>

#include <benchmark/benchmark.h>

#include "unmask/base/arena.h"
#include "unmask/base/random.h"
#include "unmask/kernels/linear.h"

namespace unmask {
namespace {

struct Shape {
  const char* name;
  int64_t tokens, hidden, experts;
};
constexpr Shape kShapes[] = {{"LLaDA2-mini block", 32, 2048, 256},
                             {"LLaDA2-mini token", 1, 2048, 256},
                             {"demo", 1024, 256, 8},
                             {"training", 4096, 512, 64}};

using Product = void (*)(ConstMatrix x, ConstMatrix w, Matrix y);

void packed(ConstMatrix x, ConstMatrix w, Matrix y) { linear_forward(x, w, {}, y, Precision::f32); }

void run(benchmark::State& state, const Shape& shape, Product product) {
  constexpr int64_t kBytes = int64_t{64} << 20;
  const int64_t size = shape.experts * shape.hidden;
  const int64_t layers = std::max<int64_t>(kBytes / 4 / size, 1);
  const int64_t all = layers * size + shape.tokens * (shape.hidden + shape.experts);
  const Buffer buffer(sizeof(float) * static_cast<size_t>(all));
  auto* const values = buffer.as<float>();
  for (int64_t i = 0; i < all; ++i) {
    values[i] = random_uniform({1, Purpose::synthetic}, static_cast<uint64_t>(i)) - 0.5f;
  }
  const ConstMatrix x(values + layers * size, shape.tokens, shape.hidden);
  const Matrix y(values + layers * size + x.size(), shape.tokens, shape.experts);
  int64_t layer = 0;
  for (auto _ : state) {
    product(x, {values + layer * size, shape.experts, shape.hidden}, y);
    layer = (layer + 1) % layers;
  }
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * static_cast<double>(shape.tokens * size * state.iterations()),
                         benchmark::Counter::kIsRate);
}

}  // namespace
}  // namespace unmask

int main(int argc, char** argv) {
  using namespace unmask;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  for (const Shape& shape : kShapes) {
    for (const auto& [way, product] :
         {std::pair<std::string, Product>{"as_they_lie", dot_products}, {"packed", packed}}) {
      benchmark::RegisterBenchmark((shape.name + ("/" + way)).c_str(),
                                   [=](benchmark::State& state) { run(state, shape, product); })
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
