#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "unmask/base/view.h"

namespace unmask {

// Rotary position embedding (Su et al., arXiv 2104.09864): cos and sin of
// position * theta^(-2i / dims), for every position once.
class RopeTable {
 public:
  RopeTable() = default;
  RopeTable(int32_t positions, int32_t dims, float theta);
  int32_t dims() const { return dims_; }
  int32_t positions() const { return positions_; }
  const float* cos_of(int32_t position) const { return cos_.data() + position * (dims_ / 2); }
  const float* sin_of(int32_t position) const { return sin_.data() + position * (dims_ / 2); }

 private:
  int32_t positions_ = 0, dims_ = 0;
  std::vector<float> cos_, sin_;  // [positions, dims / 2]
};

// Per-head RMSNorm (skipped when gain is empty), then rotation of the first rope.dims() of each
// head, half-split: (x[i], x[i + dims/2]) turn together. From x [n, heads * d] to y of the same
// shape (may be the same memory only when gain is empty); inv_rms [n, heads] is kept for backward.
void qk_norm_rope_forward(ConstMatrix x, ConstMatrix gain, float epsilon, const RopeTable& rope,
                          std::span<const int32_t> positions, int32_t head_dim, Matrix y,
                          Matrix inv_rms);

// dx = (may be the memory of dy), dgain +=. x is the input of the forward pass (unused and may be
// empty when gain is empty).
void qk_norm_rope_backward(ConstMatrix x, ConstMatrix gain, ConstMatrix inv_rms,
                           const RopeTable& rope, std::span<const int32_t> positions,
                           int32_t head_dim, ConstMatrix dy, Matrix dx, Matrix dgain);

}  // namespace unmask
