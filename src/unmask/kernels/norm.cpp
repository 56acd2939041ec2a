#include "unmask/kernels/norm.h"

#include <cmath>

#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/reference/norm.h"
#include "unmask/kernels/row_sums.h"

namespace unmask {

void rms_norm_forward(ConstMatrix x, ConstMatrix gain, float epsilon, Matrix y, Matrix inv_rms) {
  UNMASK_CHECK(gain.rows == 1 && gain.cols == x.cols);
  UNMASK_CHECK(y.rows == x.rows && y.cols == x.cols);
  UNMASK_CHECK(inv_rms.empty() || (inv_rms.rows == x.rows && inv_rms.cols == 1));
  if (use_reference_kernels()) return reference::rms_norm_forward(x, gain, epsilon, y, inv_rms);

  const int64_t d = x.cols;
  const float* g = gain.data;
  parallel_pieces(x.rows, rows_per_piece(d), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* in = x.row(r);
      float* out = y.row(r);
      const float squares = lane_sum(d, [in](int64_t i) { return in[i] * in[i]; });
      const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(d) + epsilon);
      for (int64_t i = 0; i < d; ++i) out[i] = in[i] * inverse * g[i];
      if (!inv_rms.empty()) inv_rms(r, 0) = inverse;
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

  const int64_t d = x.cols;
  const float* g = gain.data;
  for_rows_summing(x.rows, d, dgain, [&](int64_t begin, int64_t end, float* gain_sum) {
    for (int64_t r = begin; r < end; ++r) {
      const float* in = x.row(r);
      const float* dout = dy.row(r);
      float* din = dx.row(r);
      const float inverse = inv_rms(r, 0);
      const float along = lane_sum(d, [=](int64_t i) { return dout[i] * g[i] * in[i]; });
      const float pull = along * inverse * inverse * inverse / static_cast<float>(d);
      for (int64_t i = 0; i < d; ++i) din[i] += inverse * g[i] * dout[i] - pull * in[i];
      if (gain_sum != nullptr) {
        for (int64_t i = 0; i < d; ++i) gain_sum[i] += dout[i] * in[i] * inverse;
      }
    }
  });
}

}  // namespace unmask
