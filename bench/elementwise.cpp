// Row kernels at the three training sizes: bytes that must move (each operand once) per second,
// to be compared with the read bandwidth that `unmask info` measures.

#include "unmask/kernels/elementwise.h"

#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "unmask/base/arena.h"
#include "unmask/base/random.h"
#include "unmask/kernels/cross_entropy.h"
#include "unmask/kernels/finite.h"
#include "unmask/kernels/norm.h"
#include "unmask/kernels/optimizer.h"
#include "unmask/kernels/rope.h"

namespace unmask {
namespace {

struct Size {
  const char* name;
  int64_t tokens;
  int32_t hidden, heads;
  int64_t parameters;
};
// M has 40 and L 604 million parameters; beyond the caches the number changes nothing.
constexpr Size kSizes[] = {{"S", 4096, 128, 4, 3'600'000},
                           {"M", 2048, 256, 8, 16'000'000},
                           {"L", 1024, 512, 8, 32'000'000}};
constexpr int32_t kVocab = 257;

// Owns the matrices of a benchmark; values are uniform in (-1, 1).
class Workspace {
 public:
  Matrix matrix(int64_t rows, int64_t cols) {
    const Matrix m = arena_.matrix(rows, cols);
    const RandomKey key{seed_++, Purpose::synthetic};
    for (int64_t i = 0; i < m.size(); i += 4) {
      const auto bits = random_bits(key, static_cast<uint64_t>(i));
      for (int64_t j = i; j < i + 4 && j < m.size(); ++j) {
        m.data[j] = 2 * to_unit_interval(bits[j - i]) - 1;
      }
    }
    return m;
  }
  std::vector<int32_t> ids(int64_t count, int32_t limit) {
    std::vector<int32_t> result(count);
    const RandomKey key{seed_++, Purpose::synthetic};
    for (int64_t i = 0; i < count; ++i) {
      result[i] = static_cast<int32_t>(random_below(key, limit, static_cast<uint64_t>(i)));
    }
    return result;
  }

 private:
  Arena arena_;
  uint64_t seed_ = 1;
};

template <class Kernel>
void measure(benchmark::State& state, int64_t elements_moved, Kernel kernel) {
  for (auto _ : state) {
    kernel();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * elements_moved *
                          static_cast<int64_t>(sizeof(float)));
}

void rms_norm(benchmark::State& state, const Size& s, bool backward) {
  Workspace work;
  const Matrix x = work.matrix(s.tokens, s.hidden), y = work.matrix(s.tokens, s.hidden);
  const Matrix dx = work.matrix(s.tokens, s.hidden), inv_rms = work.matrix(s.tokens, 1);
  const Matrix gain = work.matrix(1, s.hidden), dgain = work.matrix(1, s.hidden);
  if (backward) {
    measure(state, 4 * x.size(), [&] { rms_norm_backward(x, gain, inv_rms, y, dx, dgain); });
  } else {
    measure(state, 2 * x.size(), [&] { rms_norm_forward(x, gain, 1e-6f, y, inv_rms); });
  }
}

void qk_norm_rope(benchmark::State& state, const Size& s, bool backward) {
  Workspace work;
  const int32_t head_dim = s.hidden / s.heads;
  const RopeTable rope(256, head_dim, 10000.0f);
  const std::vector<int32_t> positions = work.ids(s.tokens, 256);
  const Matrix x = work.matrix(s.tokens, s.hidden), y = work.matrix(s.tokens, s.hidden);
  const Matrix dx = work.matrix(s.tokens, s.hidden), inv_rms = work.matrix(s.tokens, s.heads);
  const Matrix gain = work.matrix(1, head_dim), dgain = work.matrix(1, head_dim);
  if (backward) {
    measure(state, 3 * x.size(), [&] {
      qk_norm_rope_backward(x, gain, inv_rms, rope, positions, head_dim, y, dx, dgain);
    });
  } else {
    measure(state, 2 * x.size(),
            [&] { qk_norm_rope_forward(x, gain, 1e-6f, rope, positions, head_dim, y, inv_rms); });
  }
}

// The logits are read and overwritten; the copy that restores them is counted too.
void cross_entropy_gradient(benchmark::State& state, const Size& s) {
  Workspace work;
  const Matrix source = work.matrix(s.tokens / 2, kVocab),
               logits = work.matrix(s.tokens / 2, kVocab);
  const Matrix weight = work.matrix(1, logits.rows), loss = work.matrix(1, logits.rows);
  const std::vector<int32_t> targets = work.ids(logits.rows, kVocab);
  const auto flat = [](Matrix m) { return std::span(m.data, static_cast<size_t>(m.size())); };
  measure(state, 4 * logits.size(), [&] {
    copy(source, logits);
    cross_entropy(logits, targets, flat(weight), flat(loss));
  });
}

void embedding(benchmark::State& state, const Size& s, bool backward) {
  Workspace work;
  const Matrix table = work.matrix(kVocab, s.hidden), out = work.matrix(s.tokens, s.hidden);
  const std::vector<int32_t> ids = work.ids(s.tokens, kVocab);
  if (backward) {
    measure(state, 3 * out.size(), [&] { embedding_backward(ids, out, table); });
  } else {
    measure(state, 2 * out.size(), [&] { embedding_forward(table, ids, out); });
  }
}

void add_rows(benchmark::State& state, const Size& s) {
  Workspace work;
  const Matrix x = work.matrix(s.tokens, s.hidden), y = work.matrix(s.tokens, s.hidden);
  measure(state, 3 * x.size(), [&] { add(x, y); });
}

void bias_sum(benchmark::State& state, const Size& s) {
  Workspace work;
  const Matrix dy = work.matrix(s.tokens, s.hidden), dbias = work.matrix(1, s.hidden);
  measure(state, dy.size(), [&] { bias_backward(dy, dbias); });
}

void scatter(benchmark::State& state, const Size& s) {
  Workspace work;
  const Matrix x = work.matrix(s.tokens, s.hidden), y = work.matrix(s.tokens, s.hidden);
  std::vector<int32_t> index(s.tokens);
  for (int64_t i = 0; i < s.tokens; ++i) index[i] = static_cast<int32_t>(s.tokens - 1 - i);
  measure(state, 3 * x.size(), [&] { scatter_add_rows(x, index, y); });
}

std::span<float> parameters(Workspace& work, const Size& s) {
  return {work.matrix(1, s.parameters).data, static_cast<size_t>(s.parameters)};
}

void adamw(benchmark::State& state, const Size& s) {
  Workspace work;
  const auto p = parameters(work, s), g = parameters(work, s);
  const auto m = parameters(work, s), v = parameters(work, s);
  for (float& x : v) x *= x;
  measure(state, 7 * s.parameters, [&] { adamw_update({}, p, g, m, v); });
}

void norm_of_gradient(benchmark::State& state, const Size& s) {
  Workspace work;
  const auto g = parameters(work, s);
  measure(state, s.parameters, [&] { benchmark::DoNotOptimize(squared_norm(g)); });
}

void finite_check(benchmark::State& state, const Size& s) {
  Workspace work;
  const auto g = parameters(work, s);
  measure(state, s.parameters, [&] { benchmark::DoNotOptimize(all_finite(g)); });
}

template <class... Args>
void add_benchmark(const std::string& name,
                   void (*function)(benchmark::State&, const Size&, Args...), Args... args) {
  for (const Size& size : kSizes) {
    benchmark::RegisterBenchmark(
        (name + "/" + size.name).c_str(),
        [function, &size, args...](benchmark::State& state) { function(state, size, args...); })
        ->UseRealTime()
        ->MinTime(0.05);
  }
}

}  // namespace
}  // namespace unmask

int main(int argc, char** argv) {
  using namespace unmask;
  add_benchmark("rms_norm_forward", &rms_norm, false);
  add_benchmark("rms_norm_backward", &rms_norm, true);
  add_benchmark("qk_norm_rope_forward", &qk_norm_rope, false);
  add_benchmark("qk_norm_rope_backward", &qk_norm_rope, true);
  add_benchmark("cross_entropy", &cross_entropy_gradient);
  add_benchmark("embedding_forward", &embedding, false);
  add_benchmark("embedding_backward", &embedding, true);
  add_benchmark("add", &add_rows);
  add_benchmark("bias_backward", &bias_sum);
  add_benchmark("scatter_add_rows", &scatter);
  add_benchmark("adamw", &adamw);
  add_benchmark("squared_norm", &norm_of_gradient);
  add_benchmark("all_finite", &finite_check);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
