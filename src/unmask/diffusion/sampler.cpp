#include "unmask/diffusion/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/ranges.h>

#include "unmask/base/parallel.h"

namespace unmask {
namespace {

constexpr std::array<std::string_view, 2> kNames = {"quota", "threshold"};

// -log(-log u) for every token of one row: four tokens share one counter.
class GumbelNoise {
 public:
  GumbelNoise(const DenoisingStep& step, int32_t position)
      : key_{step.seed, Purpose::sampling}, step_(step.step), position_(position) {}

  float operator()(int64_t token) {
    if (token % 4 == 0) {
      bits_ = random_bits(key_, step_, static_cast<uint32_t>(position_),
                          static_cast<uint32_t>(token / 4));
    }
    return -std::log(-std::log(to_unit_interval(bits_[token % 4])));
  }

 private:
  RandomKey key_;
  uint64_t step_;
  int32_t position_;
  std::array<uint32_t, 4> bits_{};
};

int32_t argmax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

int32_t sample(std::span<const float> logits, const DenoisingStep& step, int32_t position) {
  GumbelNoise noise(step, position);
  int32_t best = 0;
  float highest = -std::numeric_limits<float>::infinity();
  for (size_t token = 0; token < logits.size(); ++token) {
    const float z = logits[token] + step.temperature * noise(static_cast<int64_t>(token));
    if (z > highest) {
      highest = z;
      best = static_cast<int32_t>(token);
    }
  }
  return best;
}

float probability(std::span<const float> logits, int32_t token) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  float sum = 0.0f;
  for (const float z : logits) sum += std::exp(z - highest);
  const float share = std::exp(logits[token] - highest) / sum;
  return std::isfinite(share) ? share : 0.0f;  // a NaN would break the order of confidences
}

}  // namespace

void propose(const DenoisingStep& step, std::vector<Commit>& proposals) {
  UNMASK_CHECK(step.logits.rows == static_cast<int64_t>(step.positions.size()));
  UNMASK_CHECK(step.mask_token >= 0 && step.mask_token < step.logits.cols);
  proposals.resize(step.positions.size());
  parallel_for(step.logits.rows, [&](int64_t i) {
    const std::span<float> logits(step.logits.row(i), static_cast<size_t>(step.logits.cols));
    logits[step.mask_token] = -std::numeric_limits<float>::infinity();
    const int32_t position = step.positions[i];
    const int32_t token = step.temperature > 0.0f ? sample(logits, step, position) : argmax(logits);
    proposals[i] = {position, token, probability(logits, token)};
  });
}

void keep_most_confident(std::vector<Commit>& proposals, int32_t count) {
  count = std::clamp(count, 1, static_cast<int32_t>(proposals.size()));
  std::partial_sort(proposals.begin(), proposals.begin() + count, proposals.end(),
                    [](const Commit& a, const Commit& b) {
                      return a.confidence != b.confidence ? a.confidence > b.confidence
                                                          : a.position < b.position;
                    });
  proposals.resize(static_cast<size_t>(count));
  std::sort(proposals.begin(), proposals.end(),
            [](const Commit& a, const Commit& b) { return a.position < b.position; });
}

int32_t quota_at(int32_t m, int32_t steps, int32_t s) {
  UNMASK_CHECK(steps > 0 && s >= 0);
  return std::max(1, m / steps + (s < m % steps ? 1 : 0));
}

std::span<const std::string_view> sampler_names() { return kNames; }

Result<std::unique_ptr<Sampler>> make_sampler(const SamplerOptions& options) {
  if (options.policy == "quota") return make_quota_sampler();
  if (options.policy == "threshold") {
    if (!(options.threshold > 0.0f && options.threshold <= 1.0f)) {
      return usage_error("threshold {}: expected a probability in (0, 1]", options.threshold);
    }
    return make_threshold_sampler(options.threshold);
  }
  return usage_error("unknown sampler \"{}\": expected one of {}", options.policy,
                     fmt::join(kNames, ", "));
}

}  // namespace unmask
