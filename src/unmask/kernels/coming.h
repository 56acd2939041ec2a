#pragma once

#include <algorithm>
#include <cstdint>

#include "unmask/base/prefetch.h"
#include "unmask/base/view.h"

namespace unmask {

// What is read next, of a weight or of keys and values, brought from memory into the second-level
// cache in equal shares, one before each tile of what is multiplied now: memory then works while
// the arithmetic units do, and what packs or multiplies it finds it there.
template <class T>
class Coming {
 public:
  Coming(View<const T> part, int64_t shares)
      : part_(part),
        lines_in_row_((part.cols + kLineValues - 1) / kLineValues),
        share_((part.rows * lines_in_row_ + shares - 1) / std::max<int64_t>(shares, 1)) {
    for (int64_t i = 0; i < part.rows; ++i) {
      find_pages(part.row(i), part.cols * int64_t{sizeof(T)});
    }
  }

  void bring_share() {
    for (int64_t i = 0; i < share_ && row_ < part_.rows; ++i) {
      __builtin_prefetch(part_.row(row_) + line_ * kLineValues, 0, 2);
      if (++line_ == lines_in_row_) {
        line_ = 0;
        ++row_;
      }
    }
  }

 private:
  static constexpr int64_t kLineValues = kLineBytes / int64_t{sizeof(T)};

  View<const T> part_;
  int64_t lines_in_row_;
  int64_t share_;
  int64_t row_ = 0, line_ = 0;
};

}  // namespace unmask
