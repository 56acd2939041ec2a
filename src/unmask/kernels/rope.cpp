#include "unmask/kernels/rope.h"

#include <cmath>

#include "unmask/kernels/isa/isa.h"
#include "unmask/kernels/isa/norm_kernel.h"
#include "unmask/kernels/reference/rope.h"
#include "unmask/kernels/row_sums.h"

namespace unmask {
namespace {

void check_shapes(ConstMatrix x, ConstMatrix gain, const RopeTable& rope,
                  std::span<const int32_t> positions, int32_t head_dim, ConstMatrix y) {
  UNMASK_CHECK(head_dim > 0 && x.cols % head_dim == 0 && rope.dims() <= head_dim);
  UNMASK_CHECK(gain.empty() || (gain.rows == 1 && gain.cols == head_dim));
  UNMASK_CHECK(std::ssize(positions) == x.rows && y.rows == x.rows && y.cols == x.cols);
}

NormKernel::Heads heads_of(const RopeTable& rope, int32_t position, int64_t heads, int64_t head_dim,
                           ConstMatrix gain) {
  return {.heads = heads,
          .n = head_dim,
          .half = rope.dims() / 2,
          .cosine = rope.cos_of(position),
          .sine = rope.sin_of(position),
          .gain = gain.empty() ? nullptr : gain.data};
}

}  // namespace

RopeTable::RopeTable(int32_t positions, int32_t dims, float theta)
    : positions_(positions), dims_(dims) {
  UNMASK_CHECK(dims % 2 == 0);
  const int32_t half = dims / 2;
  cos_.resize(static_cast<size_t>(positions) * half);
  sin_.resize(cos_.size());
  for (int32_t i = 0; i < half; ++i) {
    // f64, because the angle of a late position has few digits left in f32.
    const double frequency = std::pow(static_cast<double>(theta), -2.0 * i / dims);
    for (int32_t p = 0; p < positions; ++p) {
      cos_[static_cast<size_t>(p) * half + i] = static_cast<float>(std::cos(p * frequency));
      sin_[static_cast<size_t>(p) * half + i] = static_cast<float>(std::sin(p * frequency));
    }
  }
}

void qk_norm_rope_forward(ConstMatrix x, ConstMatrix gain, float epsilon, const RopeTable& rope,
                          std::span<const int32_t> positions, int32_t head_dim, Matrix y,
                          Matrix inv_rms) {
  check_shapes(x, gain, rope, positions, head_dim, y);
  const int64_t heads = x.cols / head_dim;
  UNMASK_CHECK(inv_rms.empty() || (inv_rms.rows == x.rows && inv_rms.cols == heads));
  if (use_reference_kernels()) {
    return reference::qk_norm_rope_forward(x, gain, epsilon, rope, positions, head_dim, y, inv_rms);
  }

  const NormKernel& kernel = norm_kernel();
  parallel_pieces(x.rows, rows_per_piece(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      kernel.rotate_forward(heads_of(rope, positions[r], heads, head_dim, gain), x.row(r), epsilon,
                            y.row(r), inv_rms.empty() ? nullptr : inv_rms.row(r));
    }
  });
}

void qk_norm_rope_backward(ConstMatrix x, ConstMatrix gain, ConstMatrix inv_rms,
                           const RopeTable& rope, std::span<const int32_t> positions,
                           int32_t head_dim, ConstMatrix dy, Matrix dx, Matrix dgain) {
  check_shapes(dy, gain, rope, positions, head_dim, dx);
  const int64_t heads = dy.cols / head_dim;
  const bool norm = !gain.empty();
  UNMASK_CHECK(!norm || (x.rows == dy.rows && x.cols == dy.cols));
  UNMASK_CHECK(!norm || (inv_rms.rows == dy.rows && inv_rms.cols == heads));
  UNMASK_CHECK(dgain.empty() || (norm && dgain.rows == 1 && dgain.cols == head_dim));
  if (use_reference_kernels()) {
    return reference::qk_norm_rope_backward(x, gain, inv_rms, rope, positions, head_dim, dy, dx,
                                            dgain);
  }

  const NormKernel& kernel = norm_kernel();
  for_rows_summing(dy.rows, dy.cols, dgain, [&](int64_t begin, int64_t end, float* gain_sum) {
    for (int64_t r = begin; r < end; ++r) {
      kernel.rotate_backward(heads_of(rope, positions[r], heads, head_dim, gain), x.row(r),
                             inv_rms.row(r), dy.row(r), dx.row(r), gain_sum);
    }
  });
}

}  // namespace unmask
