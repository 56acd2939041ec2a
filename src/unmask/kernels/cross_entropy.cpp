#include "unmask/kernels/cross_entropy.h"

#include "unmask/base/parallel.h"
#include "unmask/kernels/isa/elementwise_kernel.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/cross_entropy.h"
#include "unmask/kernels/row_sums.h"

namespace unmask {

void cross_entropy(Matrix logits, std::span<const int32_t> targets, std::span<const float> weight,
                   std::span<float> loss) {
  UNMASK_CHECK(std::ssize(targets) == logits.rows && std::ssize(loss) == logits.rows);
  UNMASK_CHECK(weight.empty() || std::ssize(weight) == logits.rows);
  if (use_reference_kernels()) return reference::cross_entropy(logits, targets, weight, loss);

  const ElementwiseKernel& kernel = elementwise_kernel();
  parallel_pieces(logits.rows, rows_per_piece(logits.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      UNMASK_CHECK(targets[r] >= 0 && targets[r] < logits.cols);
      loss[r] = kernel.cross_entropy_row(logits.cols, logits.row(r), targets[r],
                                         weight.empty() ? nullptr : &weight[r]);
    }
  });
}

}  // namespace unmask
