#include <algorithm>

#include "unmask/diffusion/proposals.h"
#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

constexpr float kNearMaximum = 1e-5f;

// All c >= min(threshold, max c - 1e-5): where nothing passes, all that are as good as the best
// (dInfer, arXiv 2510.08666, 0.9; SGLang 0.95). No quota.
class ThresholdMaxSampler : public Sampler {
 public:
  explicit ThresholdMaxSampler(float threshold) : threshold_(threshold) {}

  void choose(const DenoisingStep& step, Choice& choice) override {
    propose(step, choice);
    ranking_.by_confidence(choice);
    if (ranking_.size() == 0) return;
    const float least = std::min(threshold_, ranking_.key(0) - kNearMaximum);
    const auto passing = std::ranges::count_if(
        choice.provisional, [least](const Commit& c) { return c.confidence >= least; });
    ranking_.commit_first(static_cast<int32_t>(passing), choice);
  }

 private:
  float threshold_;
  Ranking ranking_;
};

}  // namespace

std::unique_ptr<Sampler> make_threshold_max_sampler(float threshold) {
  return std::make_unique<ThresholdMaxSampler>(threshold);
}

}  // namespace unmask
