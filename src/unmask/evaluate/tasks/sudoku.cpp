#include <array>
#include <bit>
#include <numeric>

#include "unmask/base/document.h"
#include "unmask/evaluate/tasks/registry.h"

namespace unmask {
namespace {

constexpr int32_t kLargest = 6;
constexpr int32_t kBoxRows = 2;

struct Grid {
  int32_t size = 4;  // rows, columns and digits; boxes are 2 rows of size / 2
  std::array<uint8_t, kLargest* kLargest> cell = {};  // 0 = empty

  int32_t cells() const { return size * size; }

  // Digits that row, column and box of a cell leave free: bit d for the digit d.
  uint32_t free_digits(int32_t at) const {
    const int32_t box_columns = size / 2;
    const int32_t row = at / size, column = at % size;
    const int32_t box_row = row - row % kBoxRows, box_column = column - column % box_columns;
    uint32_t used = 1;
    for (int32_t i = 0; i < size; ++i) {
      used |= 1u << cell[row * size + i];
      used |= 1u << cell[i * size + column];
      used |= 1u << cell[(box_row + i / box_columns) * size + box_column + i % box_columns];
    }
    return ~used & ((2u << size) - 1);
  }

  // Rows on lines of their own, a dot where a cell is empty.
  std::string text() const {
    std::string text;
    for (int32_t at = 0; at < cells(); ++at) {
      if (at > 0 && at % size == 0) text += '\n';
      text += cell[at] ? static_cast<char>('0' + cell[at]) : '.';
    }
    return text;
  }
};

// The empty cell with the fewest free digits; -1: the grid is full.
int32_t tightest_cell(const Grid& grid) {
  int32_t best = -1, fewest = kLargest + 1;
  for (int32_t at = 0; at < grid.cells(); ++at) {
    if (grid.cell[at]) continue;
    const int32_t count = std::popcount(grid.free_digits(at));
    if (count < fewest) {
      best = at;
      fewest = count;
    }
  }
  return best;
}

// At most `limit`.
int32_t count_solutions(Grid grid, int32_t limit) {
  const int32_t at = tightest_cell(grid);
  if (at < 0) return 1;
  int32_t found = 0;
  for (uint32_t free = grid.free_digits(at); free != 0 && found < limit; free &= free - 1) {
    grid.cell[at] = static_cast<uint8_t>(std::countr_zero(free));
    found += count_solutions(grid, limit - found);
  }
  return found;
}

// Fills the empty cells, digits tried in random order; false: there is no way.
bool fill(Grid& grid, TaskRandom& random) {
  const int32_t at = tightest_cell(grid);
  if (at < 0) return true;
  std::array<uint8_t, kLargest> digits;
  std::iota(digits.begin(), digits.end(), uint8_t{1});
  random.shuffle(std::span(digits).first(static_cast<size_t>(grid.size)));
  const uint32_t free = grid.free_digits(at);
  for (int32_t i = 0; i < grid.size; ++i) {
    if ((free >> digits[i] & 1) == 0) continue;
    grid.cell[at] = digits[i];
    if (fill(grid, random)) return true;
  }
  grid.cell[at] = 0;
  return false;
}

class Sudoku final : public Task {
 public:
  Sudoku(int32_t size, int32_t holes) : size_(size), holes_(holes) {}

  TaskExample draw(TaskRandom& random) const override {
    Grid solution{.size = size_};
    UNMASK_CHECK(fill(solution, random));
    std::array<uint8_t, kLargest * kLargest> order;
    std::iota(order.begin(), order.end(), uint8_t{0});
    const auto cells = std::span(order).first(static_cast<size_t>(solution.cells()));
    random.shuffle(cells);
    Grid puzzle = solution;
    int32_t holes = 0;
    for (const uint8_t at : cells) {
      if (holes == holes_) break;
      puzzle.cell[at] = 0;
      ++holes;
      if (count_solutions(puzzle, 2) == 1) continue;
      puzzle.cell[at] = solution.cell[at];
      --holes;
    }
    return {.prompt = puzzle.text(), .answer = solution.text(), .identity = solution.text()};
  }

 private:
  int32_t size_, holes_;
};

}  // namespace

Result<std::unique_ptr<Task>> make_sudoku(const nlohmann::json& settings) {
  int32_t size = 4;
  Fields fields(settings, "sudoku");
  fields.read("size", size);
  if (size != 4 && size != 6) {
    fields.refuse("size", "4 or 6");
    size = 4;
  }
  int32_t holes = size * size / 2;
  fields.read_between("holes", holes, 1, size * size);
  UNMASK_TRY_STATUS(fields.finish());
  return std::unique_ptr<Task>(std::make_unique<Sudoku>(size, holes));
}

}  // namespace unmask
