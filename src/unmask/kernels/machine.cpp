#include "unmask/kernels/machine.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>

#include "unmask/base/clock.h"
#include "unmask/base/parallel.h"
#include "unmask/base/prefetch.h"
#include "unmask/base/processor.h"
#include "unmask/kernels/isa/peak_kernel.h"

namespace unmask {
namespace {

template <class Run>
double rate_of(double amount, Run run) {
  const double begin = seconds_now();
  run();
  return amount / (seconds_now() - begin);
}

// The sum of some words, as AMD's processors read fastest: their pages are found in time …
uint64_t sum_finding_pages(const uint64_t* words, int64_t count) {
  constexpr int64_t kAhead = 1 << 12;
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; i += kAhead) {
    const uint64_t* const here = words + i;
    const int64_t left = count - i, ahead = std::min(left - kAhead, kAhead);
    if (ahead > 0) find_pages(here + kAhead, ahead * int64_t{sizeof(uint64_t)});
    sum += std::accumulate(here, here + std::min(left, kAhead), uint64_t{0});
  }
  return sum;
}

// … and others: each line is asked for (Granite Rapids: 33 GB/s; 31 when it is not, and 24 where
// pages are found).
uint64_t sum_fetching_lines(const uint64_t* words, int64_t count) {
  constexpr int64_t kAhead = 1 << 10, kLine = kLineBytes / int64_t{sizeof(uint64_t)};
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; i += kLine) {
    const uint64_t* const here = words + i;
    __builtin_prefetch(here + kAhead, 0, 2);
    sum = std::accumulate(here, here + std::min(kLine, count - i), sum);
  }
  return sum;
}

// The best of a few runs: other programs can only make a run slower.
double measure_peak(const PeakKernel& kernel) {
  double best = 0;
  for (int i = 0; i < 7; ++i) best = std::max(best, arithmetic_rate(kernel));
  return best;
}

}  // namespace

double measure_f32_flops() { return measure_peak(peak_kernel(Precision::f32)); }
double measure_bf16_flops() { return measure_peak(peak_kernel(Precision::bf16)); }
double measure_int8_ops() { return measure_peak(int8_peak_kernel()); }

Buffer memory_beyond_caches() {
  Buffer buffer(size_t{512} << 20);
  std::memset(buffer.data(), 1, buffer.size());
  return buffer;
}

double measure_read_bandwidth() {
  const Buffer buffer = memory_beyond_caches();
  double best = 0;
  for (int i = 0; i < 5; ++i) best = std::max(best, read_rate({buffer.data(), buffer.size()}));
  return best;
}

double arithmetic_rate(const PeakKernel& kernel) {
  constexpr int64_t kSteps = 2'000'000;
  const double operations = kernel.operations_per_step * static_cast<double>(kSteps) *
                            static_cast<double>(thread_count());
  return rate_of(operations, [&] {
    parallel_for(thread_count(), [&](int64_t) {
      volatile float sink = kernel.run(kSteps);
      static_cast<void>(sink);
    });
  });
}

double read_rate(std::span<const std::byte> memory) {
  constexpr int64_t kPiece = 1 << 18;  // words
  const auto* const words = reinterpret_cast<const uint64_t*>(memory.data());
  const auto count = static_cast<int64_t>(memory.size() / sizeof(uint64_t));
  const auto sum = made_by_amd() ? &sum_finding_pages : &sum_fetching_lines;
  return rate_of(static_cast<double>(memory.size()), [&] {
    parallel_pieces(count, kPiece, [&](int64_t begin, int64_t end) {
      volatile uint64_t sink = sum(words + begin, end - begin);
      static_cast<void>(sink);
    });
  });
}

MachinePeaks measure_machine() {
  return {measure_read_bandwidth(), measure_f32_flops(), measure_bf16_flops(), measure_int8_ops()};
}

}  // namespace unmask
