#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "unmask/base/arena.h"
#include "unmask/base/view.h"
#include "unmask/kernels/assignment.h"

namespace unmask {

// Uninitialised scratch of the calling thread, inside an ArenaScope of the caller's.
template <class T>
std::span<T> take_scratch(int64_t count) {
  return {thread_scratch().take<T>(count), static_cast<size_t>(count)};
}

// The expert of every slot, likewise.
inline std::span<const int32_t> experts_of_slots(const Assignment& assignment) {
  const auto experts = take_scratch<int32_t>(assignment.slots());
  for (int32_t e = 0; e < assignment.experts; ++e) {
    std::fill(experts.begin() + assignment.expert_begin[e],
              experts.begin() + assignment.expert_begin[e + 1], e);
  }
  return experts;
}

template <class T>
std::span<T> row_of(View<T> m, int64_t i) {
  return {m.row(i), static_cast<size_t>(m.cols)};
}

}  // namespace unmask
