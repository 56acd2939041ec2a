#include "unmask/kernels/measure_experts.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "unmask/base/arena.h"
#include "unmask/base/clock.h"
#include "unmask/base/memory.h"
#include "unmask/base/parallel.h"
#include "unmask/base/random.h"
#include "unmask/kernels/machine.h"
#include "unmask/kernels/quantized_experts.h"
#include "unmask/kernels/random_levels.h"

namespace unmask {
namespace {

constexpr int kRounds = 15;
constexpr int kCallsPerRound = 4;
constexpr size_t kReadPerRound = size_t{256} << 20;

template <class Run>
double seconds_of(Run run) {
  const double begin = seconds_now();
  run();
  return seconds_now() - begin;
}

// Each of `unique` experts, beginning somewhere in the layer, gets a token; the remaining choices
// are random.
Assignment choose(const ExpertsBenchmark& b, int32_t call) {
  std::vector<std::vector<int32_t>> of_token(static_cast<size_t>(b.tokens));
  const auto expert = [&](int64_t i) {
    return static_cast<int32_t>((int64_t{call} * b.unique + i) % b.experts);
  };
  for (int32_t i = 0; i < b.unique; ++i) of_token[i % b.tokens].push_back(expert(i));
  std::vector<int32_t> begin = {0}, chosen;
  for (int32_t t = 0; t < b.tokens; ++t) {
    std::vector<int32_t>& mine = of_token[t];
    for (uint32_t draw = 0; std::ssize(mine) < b.per_token; ++draw) {
      const int32_t e = expert(static_cast<int64_t>(
          random_below({static_cast<uint64_t>(call), Purpose::synthetic},
                       static_cast<uint64_t>(b.unique), static_cast<uint64_t>(t), draw)));
      if (std::find(mine.begin(), mine.end(), e) == mine.end()) mine.push_back(e);
    }
    chosen.insert(chosen.end(), mine.begin(), mine.end());
    begin.push_back(static_cast<int32_t>(chosen.size()));
  }
  Assignment a;
  a.build_by_token(b.experts, b.tokens, begin, chosen);
  std::fill(a.gate.begin(), a.gate.end(), 1.0f / static_cast<float>(b.per_token));
  return a;
}

Status check(const ExpertsBenchmark& b, double bytes) {
  const int64_t slots = int64_t{b.tokens} * b.per_token;
  if (b.unique < b.per_token || b.unique > b.experts || b.unique > slots) {
    return usage_error(
        "unique: expected {} to {}: {} tokens choose {} of {} experts each; found {}", b.per_token,
        std::min<int64_t>(b.experts, slots), b.tokens, b.per_token, b.experts, b.unique);
  }
  const auto memory = static_cast<double>(physical_memory());
  if (bytes > 0.8 * memory) {
    return failure("the experts of the layer take {:.1f} GB in {}; this machine has {:.1f} GB",
                   bytes / 1e9, name_of(b.format), memory / 1e9);
  }
  return {};
}

const PeakKernel& peak_kernel_of(WeightFormat format) {
  return format == WeightFormat::bf16 ? peak_kernel(Precision::bf16) : int8_peak_kernel();
}

}  // namespace

Result<Measurement> measure_experts(const ExpertsBenchmark& b) {
  const ExpertForm form = {{b.format, b.ffn, b.hidden, b.group},
                           {b.format, b.hidden, b.ffn, b.group}};
  const auto expert_bytes = static_cast<double>(form.bytes());
  UNMASK_TRY_STATUS(check(b, expert_bytes * b.experts));

  const Buffer data(static_cast<size_t>(b.experts * form.bytes()));
  std::vector<const std::byte*> records(static_cast<size_t>(b.experts));
  parallel_for(b.experts, [&](int64_t e) {
    std::byte* const record = data.data() + e * form.bytes();
    fill_with_random_levels(form.up, static_cast<uint64_t>(3 * e), record);
    fill_with_random_levels(form.up, static_cast<uint64_t>(3 * e + 1), record + form.up.bytes());
    fill_with_random_levels(form.down, static_cast<uint64_t>(3 * e + 2),
                            record + 2 * form.up.bytes());
    records[static_cast<size_t>(e)] = record;
  });
  const QuantizedExperts weights = {form, records};

  const Buffer activations(sizeof(float) * static_cast<size_t>(2 * b.tokens * b.hidden));
  const Matrix x(activations.as<float>(), b.tokens, b.hidden);
  const Matrix y(activations.as<float>() + x.size(), b.tokens, b.hidden);
  for (int64_t i = 0; i < x.size(); ++i) {
    x.data[i] = random_uniform({1, Purpose::synthetic}, static_cast<uint64_t>(i)) - 0.5f;
    y.data[i] = 0;
  }
  std::vector<Assignment> routes;
  for (int32_t call = 0; call < kRounds * kCallsPerRound; ++call) routes.push_back(choose(b, call));
  experts_forward(x, weights, routes.back(), y);  // scratch memory is touched for the first time

  std::vector<double> seconds, read_rates, peaks;
  const size_t read = std::min(kReadPerRound, data.size());
  for (int round = 0; round < kRounds; ++round) {
    const size_t from = (data.size() - read) / kRounds * static_cast<size_t>(round) / 64 * 64;
    read_rates.push_back(read_rate({data.data() + from, read}));
    for (int i = 0; i < kCallsPerRound; ++i) {
      const Assignment& route = routes[static_cast<size_t>(round * kCallsPerRound + i)];
      seconds.push_back(seconds_of([&] { experts_forward(x, weights, route, y); }));
    }
    for (int i = 0; i < kCallsPerRound; ++i) {
      peaks.push_back(arithmetic_rate(peak_kernel_of(b.format)));
    }
  }
  return Measurement{.seconds = median(seconds),
                     .work = {.bytes = expert_bytes * b.unique,
                              .operations = 2.0 * 3 *
                                            static_cast<double>(int64_t{b.tokens} * b.per_token *
                                                                b.hidden * b.ffn)},
                     .read_bytes_per_second = median(read_rates),
                     .peak = median(peaks)};
}

}  // namespace unmask
