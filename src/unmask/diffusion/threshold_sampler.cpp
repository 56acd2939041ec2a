#include <algorithm>

#include "unmask/diffusion/sampler.h"

namespace unmask {
namespace {

// Every position whose confidence exceeds the threshold; where those are fewer than the quota, the
// quota most confident ones (LLaDA2: 0.95).
class ThresholdSampler : public Sampler {
 public:
  explicit ThresholdSampler(float threshold) : threshold_(threshold) {}

  void choose(const DenoisingStep& step, std::vector<Commit>& commits) override {
    propose(step, commits);
    const auto above =
        static_cast<int32_t>(std::count_if(commits.begin(), commits.end(), [this](const Commit& c) {
          return c.confidence > threshold_;
        }));
    keep_most_confident(commits, std::max(above, step.quota));
  }

 private:
  float threshold_;
};

}  // namespace

std::unique_ptr<Sampler> make_threshold_sampler(float threshold) {
  return std::make_unique<ThresholdSampler>(threshold);
}

}  // namespace unmask
