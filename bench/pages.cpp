// What finding the pages of the next 64 KB costs beside arithmetic on what is there already: the
// pages are looked for (base/prefetch.h), arithmetic of two microseconds follows, then one line of
// each page is read. `far`: another place of 512 MB each time, `near`: two places in turns.
//   bench_pages [--benchmark_enable_random_interleaving --benchmark_repetitions=9]
#include <string>

#include <benchmark/benchmark.h>

#include "unmask/base/prefetch.h"
#include "unmask/kernels/machine.h"

namespace unmask {
namespace {

constexpr int64_t kBytes = int64_t{64} << 10;

struct Way {
  const char* name;
  void (*look)(const void* from, int64_t bytes);
};
constexpr Way kWays[] = {{"when read", [](const void*, int64_t) {}},
                         {"together", find_pages},
                         {"meanwhile", find_pages_meanwhile}};

// Operations that wait for each other, four cycles each.
void compute(float& value) {
  constexpr int kOperations = 2000;
  for (int i = 0; i < kOperations; ++i) {
    value = value * 0.5f + 0.5f;
    asm volatile("" : "+x"(value));
  }
}

// Places of `memory` that no stride predicts.
class Places {
 public:
  Places(const Buffer& memory, int64_t count) : memory_(memory), count_(count) {}
  const std::byte* next() {
    constexpr int64_t kStep = 4987;  // prime
    place_ = (place_ + kStep) % count_;
    return memory_.data() + place_ * kBytes;
  }

 private:
  const Buffer& memory_;
  int64_t count_;
  int64_t place_ = 0;
};

void run(benchmark::State& state, const Buffer& memory, int64_t places, const Way* way) {
  Places next(memory, places);
  float value = 1;
  int sum = 0;
  for (auto _ : state) {
    const std::byte* const coming = next.next();
    if (way != nullptr) way->look(coming, kBytes);
    compute(value);
    if (way == nullptr) continue;
    for (int64_t i = 0; i < kBytes; i += kPageBytes) sum += std::to_integer<int>(coming[i]);
    benchmark::DoNotOptimize(sum);
  }
}

}  // namespace
}  // namespace unmask

int main(int argc, char** argv) {
  using namespace unmask;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const Buffer memory = memory_beyond_caches();
  const auto all = static_cast<int64_t>(memory.size()) / kBytes;
  const auto add = [&](const std::string& name, int64_t places, const Way* way) {
    benchmark::RegisterBenchmark(name.c_str(), [&memory, places, way](benchmark::State& state) {
      run(state, memory, places, way);
    });
  };
  add("arithmetic", all, nullptr);
  for (const Way& way : kWays) {
    add(std::string("far/") + way.name, all, &way);
    add(std::string("near/") + way.name, 2, &way);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
