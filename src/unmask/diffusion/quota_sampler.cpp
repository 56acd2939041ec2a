#include "unmask/diffusion/sampler.h"

namespace unmask {
namespace {

// The n_s most confident positions, n_s = quota (LLaDA, arXiv 2502.09992, low-confidence
// remasking: the others are masked again, that is, stay masked).
class QuotaSampler : public Sampler {
 public:
  void choose(const DenoisingStep& step, std::vector<Commit>& commits) override {
    propose(step, commits);
    keep_most_confident(commits, step.quota);
  }
};

}  // namespace

std::unique_ptr<Sampler> make_quota_sampler() { return std::make_unique<QuotaSampler>(); }

}  // namespace unmask
