#pragma once

#include <algorithm>
#include <cstdint>

namespace unmask {

// Rows of `cols` logits that make one piece of parallel work: some ten microseconds, below which
// waking another thread costs more than it saves. Depends on shapes alone, so that sums made piece
// by piece are the same for any number of threads.
inline int64_t rows_at_once(int64_t cols) {
  constexpr int64_t kLogitsAtOnce = 32768;
  return std::max<int64_t>(1, kLogitsAtOnce / std::max<int64_t>(1, cols));
}

}  // namespace unmask
