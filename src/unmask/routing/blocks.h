#pragma once

#include <cstdint>

#include "unmask/routing/decision.h"
#include "unmask/routing/router.h"

namespace unmask {

// Position of a row in its sequence, whose first row is `first`.
inline int32_t position_of(const RouteContext& context, int32_t row, int32_t first) {
  return context.position.empty() ? row - first : context.position[row];
}

// f(block) for every block of `size` positions, aligned to position 0 of the sequence: a run of
// rows of one sequence with the same position / size and ascending positions. So the two halves of
// a [noisy | clean] sequence, whose positions start anew, have blocks of their own, and the rows of
// the one block that a decoding step computes are one block.
template <class F>
void for_each_block(const RouteContext& context, int32_t size, F&& f) {
  for (int32_t b = 0; b < context.sequences(); ++b) {
    const int32_t first = context.sequence_begin[b], end = context.sequence_begin[b + 1];
    int32_t begin = first;
    for (int32_t t = first + 1; t <= end; ++t) {
      if (t < end) {
        const int32_t before = position_of(context, t - 1, first),
                      here = position_of(context, t, first);
        if (here > before && here / size == before / size) continue;
      }
      f(RowBlock{.begin = begin, .end = t, .sequence = b});
      begin = t;
    }
  }
}

// The most blocks of `size` that a run of ascending positions can touch.
inline int64_t most_blocks(int64_t length, int64_t size) {
  return length == 0 ? 0 : (length + size - 2) / size + 1;
}

}  // namespace unmask
