#include "unmask/kernels/norm.h"

#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/norm_kernel.h"
#include "unmask/kernels/reference/norm.h"
#include "unmask/kernels/row_sums.h"

namespace unmask {

void rms_norm_forward(ConstMatrix x, ConstMatrix gain, float epsilon, Matrix y, Matrix inv_rms) {
  UNMASK_CHECK(gain.rows == 1 && gain.cols == x.cols);
  UNMASK_CHECK(y.rows == x.rows && y.cols == x.cols);
  UNMASK_CHECK(inv_rms.empty() || (inv_rms.rows == x.rows && inv_rms.cols == 1));
  if (use_reference_kernels()) return reference::rms_norm_forward(x, gain, epsilon, y, inv_rms);

  const NormKernel& kernel = norm_kernel();
  parallel_pieces(x.rows, rows_per_piece(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float s = kernel.forward(x.cols, x.row(r), gain.data, epsilon, y.row(r));
      if (!inv_rms.empty()) inv_rms(r, 0) = s;
    }
  });
}

void rms_norm_backward(ConstMatrix x, ConstMatrix gain, ConstMatrix inv_rms, ConstMatrix dy,
                       Matrix dx, Matrix dgain) {
  UNMASK_CHECK(gain.rows == 1 && gain.cols == x.cols);
  UNMASK_CHECK(dy.rows == x.rows && dy.cols == x.cols && dx.rows == x.rows && dx.cols == x.cols);
  UNMASK_CHECK(inv_rms.rows == x.rows && inv_rms.cols == 1);
  UNMASK_CHECK(dgain.empty() || (dgain.rows == 1 && dgain.cols == x.cols));
  if (use_reference_kernels()) {
    return reference::rms_norm_backward(x, gain, inv_rms, dy, dx, dgain);
  }

  const NormKernel& kernel = norm_kernel();
  for_rows_summing(x.rows, x.cols, dgain, [&](int64_t begin, int64_t end, float* gain_sum) {
    for (int64_t r = begin; r < end; ++r) {
      kernel.backward(x.cols, x.row(r), gain.data, inv_rms(r, 0), dy.row(r), dx.row(r), gain_sum);
    }
  });
}

}  // namespace unmask
