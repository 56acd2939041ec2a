#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "unmask/experiment/results.h"

// The arms of the experiment block-experts, "TASK-WAY", and what their sweeps found.
namespace unmask::block_experts {

inline constexpr const char* kTasks[] = {"sorting", "addition"};

inline std::string arm_of(const std::string& task, const std::string& way) {
  return task + "-" + way;
}

// number(seed) for each seed, an index into results.seeds().
template <class Number>
std::vector<double> by_seed(const Results& results, Number number) {
  std::vector<double> numbers;
  for (size_t seed = 0; seed < results.seeds().size(); ++seed) numbers.push_back(number(seed));
  return numbers;
}

// One number of a sweep where the swept key has this value, by seed.
inline std::vector<double> at_value(const Results& results, const std::string& arm,
                                    const std::string& column, double value) {
  return by_seed(results, [&](size_t seed) {
    const auto x = results.column(arm, "task.points.x", seed);
    const auto y = results.column(arm, "task.points." + column, seed);
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (std::abs(x[i] - value) < 1e-6) return y[i];
    }
    return std::nan("");
  });
}

}  // namespace unmask::block_experts
