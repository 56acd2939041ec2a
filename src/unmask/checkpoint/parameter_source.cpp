#include "unmask/checkpoint/parameter_source.h"

#include <algorithm>
#include <cmath>

#include "unmask/base/random.h"
#include "unmask/kernels/finite.h"

namespace unmask {

Status ParameterSource::read_finite(int parameter, int64_t first, std::span<float> out) const {
  read(parameter, first, out);
  if (all_finite(out)) return {};
  const int64_t i = first_non_finite(out);
  return failure("{}: expected a finite number, found {}", where(parameter, first + i),
                 out[static_cast<size_t>(i)]);
}

HeldParameters::HeldParameters(const ModelConfig& config, const Parameters& parameters)
    : ParameterSource(config), parameters_(&parameters) {
  UNMASK_CHECK(parameters.layout().size == layout().size);
}

void HeldParameters::read(int parameter, int64_t first, std::span<float> out) const {
  const Matrix values = (*parameters_)[parameter];
  UNMASK_CHECK(first >= 0 && first + std::ssize(out) <= values.size());
  std::copy_n(values.data + first, out.size(), out.begin());
}

std::string HeldParameters::where(int parameter, int64_t element) const {
  return fmt::format("{}, element {}", info(parameter).name, element);
}

RandomParameters::RandomParameters(const ModelConfig& config, uint64_t seed, float router_skew)
    : ParameterSource(config),
      seed_(seed),
      router_skew_(router_skew),
      skew_(layout().table.size(), Skew::none) {
  if (router_skew == 0) return;
  for (const ParameterLayout::Layer& layer : layout().layers) {
    if (layer.router < 0) continue;
    if (layer.expert_bias >= 0) {
      skew_[static_cast<size_t>(layer.expert_bias)] = Skew::bias;
    } else {
      skew_[static_cast<size_t>(layer.router)] = Skew::rows;
    }
  }
}

void RandomParameters::read(int parameter, int64_t first, std::span<float> out) const {
  initialize(layout(), parameter, seed_, first, out);
  const Skew skew = skew_[static_cast<size_t>(parameter)];
  if (skew == Skew::none) return;
  // A stream beside the parameter's own, whose counters end in 0.
  const auto normal_of = [&](int64_t expert) {
    return random_normal({seed_, Purpose::initialization}, static_cast<uint64_t>(expert),
                         static_cast<uint32_t>(parameter), 1);
  };
  const int64_t columns = skew == Skew::bias ? 1 : info(parameter).cols;
  for (int64_t i = 0; i < std::ssize(out);) {
    const int64_t expert = (first + i) / columns;
    const int64_t end = std::min<int64_t>(std::ssize(out), (expert + 1) * columns - first);
    const float shift = router_skew_ * normal_of(expert);
    for (; i < end; ++i) {
      if (skew == Skew::bias) {
        out[i] += shift;
      } else {
        out[i] *= std::exp(shift);
      }
    }
  }
}

std::string RandomParameters::where(int parameter, int64_t element) const {
  return fmt::format("{}, element {}", info(parameter).name, element);
}

}  // namespace unmask
