#include <algorithm>

#include "unmask/diffusion/samplers.h"
#include "unmask/diffusion/threshold_rule.h"

namespace unmask {

void ThresholdRule::commit(int32_t quota, Choice& choice) {
  const auto above = std::ranges::count_if(
      choice.provisional, [this](const Commit& c) { return c.confidence > threshold_; });
  ranking_.by_confidence(choice);
  ranking_.commit_first(std::max(static_cast<int32_t>(above), quota), choice);
}

namespace {

class ThresholdSampler : public Sampler {
 public:
  explicit ThresholdSampler(float threshold) : rule_(threshold) {}

  void choose(const DenoisingStep& step, Choice& choice) override {
    propose(step, choice);
    rule_.commit(step.quota, choice);
  }

 private:
  ThresholdRule rule_;
};

}  // namespace

std::unique_ptr<Sampler> make_threshold_sampler(float threshold) {
  return std::make_unique<ThresholdSampler>(threshold);
}

}  // namespace unmask
