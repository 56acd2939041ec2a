#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "unmask/base/random.h"
#include "unmask/kernels/assignment.h"

namespace unmask::test {

enum class Skew { even, ragged, one_hot, empty };

// Tokens choose experts by the skew; some tokens choose none, and gates are random.
inline Assignment skewed_assignment(int32_t tokens, int32_t experts, int32_t per_token, Skew skew) {
  std::vector<int32_t> begin = {0}, chosen;
  for (int32_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> mine;
    if (skew != Skew::empty && !(skew == Skew::ragged && t % 7 == 3)) {
      if (skew == Skew::one_hot) mine.push_back(experts - 1);
      for (uint32_t draw = 0; std::ssize(mine) < std::min(per_token, experts); ++draw) {
        const auto e = static_cast<int32_t>(
            random_below({9, Purpose::synthetic}, static_cast<uint64_t>(experts), t, draw));
        if (skew == Skew::ragged && e == 2) continue;  // an empty expert
        if (std::find(mine.begin(), mine.end(), e) == mine.end()) mine.push_back(e);
      }
    }
    chosen.insert(chosen.end(), mine.begin(), mine.end());
    begin.push_back(static_cast<int32_t>(chosen.size()));
  }
  Assignment a;
  a.build_by_token(experts, tokens, begin, chosen);
  for (size_t i = 0; i < a.gate.size(); ++i) {
    a.gate[i] = random_uniform({10, Purpose::synthetic}, i) - 0.3f;
  }
  return a;
}

}  // namespace unmask::test
