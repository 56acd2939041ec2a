#pragma once

#include <algorithm>
#include <cstdint>

#include "unmask/base/view.h"
#include "unmask/kernels/isa/gemm_kernel.h"

namespace unmask {

// The part of a weight that is packed next, brought from memory into the second-level cache in
// equal shares, one before each tile of what is multiplied now: memory then works while the
// arithmetic units do, and packing finds what it reads.
class Coming {
 public:
  Coming(ConstMatrix part, int64_t shares)
      : part_(part),
        lines_in_row_((part.cols + kLineFloats - 1) / kLineFloats),
        share_((part.rows * lines_in_row_ + shares - 1) / std::max<int64_t>(shares, 1)) {}

  void bring_share() {
    for (int64_t i = 0; i < share_ && row_ < part_.rows; ++i) {
      __builtin_prefetch(part_.row(row_) + line_ * kLineFloats, 0, 2);
      if (++line_ == lines_in_row_) {
        line_ = 0;
        ++row_;
      }
    }
  }

 private:
  ConstMatrix part_;
  int64_t lines_in_row_;
  int64_t share_;
  int64_t row_ = 0, line_ = 0;
};

}  // namespace unmask
