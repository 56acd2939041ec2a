#include "unmask/kernels/softmax.h"
#include "unmask/routing/weighting.h"

namespace unmask {
namespace {

constexpr double kSumFloor = 1e-20;  // of the public code of LLaDA2

double sum_of(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  return sum;
}

class SigmoidWeighting : public Weighting {
 public:
  void forward(std::span<const float> z, std::span<const float>,
               std::span<float> w) const override {
    sigmoid_row(z, w);
  }
  // dz = s (1 - s) dw
  void backward(std::span<const float> z, std::span<const float>, std::span<const float> d_w,
                std::span<float> d_z, std::span<float>) const override {
    sigmoid_row(z, d_z);
    for (size_t i = 0; i < z.size(); ++i) d_z[i] *= (1 - d_z[i]) * d_w[i];
  }
};

class NormalizedSigmoidWeighting : public Weighting {
 public:
  void forward(std::span<const float> z, std::span<const float>,
               std::span<float> w) const override {
    sigmoid_row(z, w);
    const auto scale = static_cast<float>(1 / (sum_of(w) + kSumFloor));
    for (float& weight : w) weight *= scale;
  }
  // w = s / sum: ds_i = (dw_i - sum_j w_j dw_j) / sum, dz_i = s_i (1 - s_i) ds_i
  void backward(std::span<const float> z, std::span<const float>, std::span<const float> d_w,
                std::span<float> d_z, std::span<float>) const override {
    sigmoid_row(z, d_z);
    const double sum = sum_of(d_z) + kSumFloor;
    double mean = 0;
    for (size_t i = 0; i < z.size(); ++i) mean += static_cast<double>(d_z[i]) * d_w[i];
    mean /= sum;
    for (size_t i = 0; i < z.size(); ++i) {
      const double ds = (d_w[i] - mean) / sum;
      d_z[i] = static_cast<float>(d_z[i] * (1.0 - d_z[i]) * ds);
    }
  }
};

}  // namespace

std::unique_ptr<Weighting> make_sigmoid_weighting() { return std::make_unique<SigmoidWeighting>(); }
std::unique_ptr<Weighting> make_normalized_sigmoid_weighting() {
  return std::make_unique<NormalizedSigmoidWeighting>();
}

}  // namespace unmask
