#pragma once

#include <algorithm>
#include <cstdint>

#include "unmask/base/arena.h"
#include "unmask/base/parallel.h"
#include "unmask/base/view.h"

namespace unmask {

// Rows of a piece of work: about 32 KiB of each matrix, so that a piece is worth handing out and
// stays in the first-level cache. A function of the width alone, never of the thread count.
inline int64_t rows_per_piece(int64_t cols) {
  constexpr int64_t kElements = 8192;
  return cols >= kElements ? 1 : kElements / (cols > 0 ? cols : 1);
}

// result [1, cols] += sum over all rows, where body(begin, end, partial) adds rows [begin, end) to
// partial [cols], zero at first. Pieces are summed in their order: any thread count gives the
// same bits. With an empty result, body gets null.
template <class Body>
void for_rows_summing(int64_t rows, int64_t cols, Matrix result, Body&& body) {
  if (result.empty()) {
    parallel_pieces(rows, rows_per_piece(cols),
                    [&](int64_t begin, int64_t end) { body(begin, end, nullptr); });
    return;
  }
  // At least 64 rows, so that partial sums are small beside the rows themselves.
  const int64_t grain = std::max<int64_t>(rows_per_piece(cols), 64);
  ArenaScope scope(thread_scratch());
  const int64_t pieces = (rows + grain - 1) / grain;
  const Matrix partial = thread_scratch().matrix(pieces, result.cols);
  parallel_pieces(rows, grain, [&](int64_t begin, int64_t end) {
    float* const sum = partial.row(begin / grain);
    std::fill_n(sum, result.cols, 0.0f);
    body(begin, end, sum);
  });
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const float* sum = partial.row(piece);
    for (int64_t j = 0; j < result.cols; ++j) result.data[j] += sum[j];
  }
}

}  // namespace unmask
