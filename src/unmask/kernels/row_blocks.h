#pragma once

#include <cstdint>

namespace unmask {

// `rows` cut into blocks of nearly equal height, none above `max_rows`: 64 rows in blocks of at
// most 14 are 13 13 13 13 12 rather than 14 14 14 14 8.
struct RowBlocks {
  int64_t rows;
  int64_t count;

  RowBlocks(int64_t rows, int64_t max_rows) : rows(rows), count((rows + max_rows - 1) / max_rows) {}
  int64_t first(int64_t block) const { return block * rows / count; }
  int64_t height(int64_t block) const { return first(block + 1) - first(block); }
};

}  // namespace unmask
