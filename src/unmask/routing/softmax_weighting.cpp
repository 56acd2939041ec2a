#include <cmath>

#include "unmask/kernels/softmax.h"
#include "unmask/routing/scratch.h"
#include "unmask/routing/weighting.h"

namespace unmask {
namespace {

class SoftmaxWeighting : public Weighting {
 public:
  void forward(std::span<const float> z, std::span<const float>,
               std::span<float> w) const override {
    softmax_row(z, w);
  }

  // dz_i = w_i (dw_i - sum_j w_j dw_j)
  void backward(std::span<const float> z, std::span<const float>, std::span<const float> d_w,
                std::span<float> d_z, std::span<float>) const override {
    softmax_row(z, d_z);
    double mean = 0;
    for (size_t i = 0; i < z.size(); ++i) mean += static_cast<double>(d_z[i]) * d_w[i];
    for (size_t i = 0; i < z.size(); ++i) d_z[i] *= d_w[i] - static_cast<float>(mean);
  }
};

class SoftmaxBeforeWeighting : public Weighting {
 public:
  void forward(std::span<const float> z, std::span<const float> row,
               std::span<float> w) const override {
    ArenaScope scope(thread_scratch());
    const float log_sum = softmax_row(row, take_scratch<float>(std::ssize(row)));
    for (size_t i = 0; i < z.size(); ++i) w[i] = std::exp(z[i] - log_sum);
  }

  // p = softmax(row), w its chosen part: drow_j -= p_j sum_i w_i dw_i over all experts, and
  // dz_i = w_i dw_i at the chosen.
  void backward(std::span<const float> z, std::span<const float> row, std::span<const float> d_w,
                std::span<float> d_z, std::span<float> d_row) const override {
    ArenaScope scope(thread_scratch());
    const auto p = take_scratch<float>(std::ssize(row));
    const float log_sum = softmax_row(row, p);
    double mean = 0;
    for (size_t i = 0; i < z.size(); ++i) {
      d_z[i] = std::exp(z[i] - log_sum) * d_w[i];
      mean += static_cast<double>(d_z[i]);
    }
    for (size_t j = 0; j < row.size(); ++j) d_row[j] -= p[j] * static_cast<float>(mean);
  }
};

}  // namespace

std::unique_ptr<Weighting> make_softmax_weighting() { return std::make_unique<SoftmaxWeighting>(); }
std::unique_ptr<Weighting> make_softmax_before_weighting() {
  return std::make_unique<SoftmaxBeforeWeighting>();
}

}  // namespace unmask
