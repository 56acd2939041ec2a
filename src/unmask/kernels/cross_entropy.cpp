#include "unmask/kernels/cross_entropy.h"

#include "unmask/base/parallel.h"
#include "unmask/kernels/isa/elementwise_kernel.h"
#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/cross_entropy.h"
#include "unmask/kernels/row_sums.h"

namespace unmask {

namespace {

void check_sizes(Matrix logits, std::span<const int32_t> targets, std::span<const float> weight,
                 std::span<float> result) {
  UNMASK_CHECK(std::ssize(targets) == logits.rows && std::ssize(result) == logits.rows);
  UNMASK_CHECK(weight.empty() || std::ssize(weight) == logits.rows);
}

// judge(r, weight of the row or null) for every row.
template <class Judge>
void for_predictions(Matrix logits, std::span<const int32_t> targets, std::span<const float> weight,
                     Judge&& judge) {
  parallel_pieces(logits.rows, rows_per_piece(logits.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      UNMASK_CHECK(targets[r] >= 0 && targets[r] < logits.cols);
      judge(r, weight.empty() ? nullptr : &weight[r]);
    }
  });
}

}  // namespace

void cross_entropy(Matrix logits, std::span<const int32_t> targets, std::span<const float> weight,
                   std::span<float> loss) {
  check_sizes(logits, targets, weight, loss);
  if (use_reference_kernels()) return reference::cross_entropy(logits, targets, weight, loss);

  const ElementwiseKernel& kernel = elementwise_kernel();
  for_predictions(logits, targets, weight, [&](int64_t r, const float* row_weight) {
    loss[r] = kernel.cross_entropy_row(logits.cols, logits.row(r), targets[r], row_weight);
  });
}

void confident_cross_entropy(Matrix logits, std::span<const int32_t> targets, float beta,
                             std::span<const float> weight, std::span<float> loss,
                             std::span<float> entropy) {
  check_sizes(logits, targets, weight, loss);
  check_sizes(logits, targets, weight, entropy);
  if (use_reference_kernels()) {
    return reference::confident_cross_entropy(logits, targets, beta, weight, loss, entropy);
  }

  const ElementwiseKernel& kernel = elementwise_kernel();
  for_predictions(logits, targets, weight, [&](int64_t r, const float* row_weight) {
    loss[r] = kernel.confident_cross_entropy_row(logits.cols, logits.row(r), targets[r], beta,
                                                 row_weight, &entropy[r]);
  });
}

}  // namespace unmask
