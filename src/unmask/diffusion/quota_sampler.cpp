#include "unmask/diffusion/proposals.h"
#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

// The n_s most confident positions, n_s = quota (LLaDA, arXiv 2502.09992, low-confidence
// remasking: the others are masked again, that is, stay masked).
class QuotaSampler : public Sampler {
 public:
  void choose(const DenoisingStep& step, Choice& choice) override {
    propose(step, choice);
    ranking_.by_confidence(choice);
    ranking_.commit_first(step.quota, choice);
  }

 private:
  Ranking ranking_;
};

}  // namespace

std::unique_ptr<Sampler> make_quota_sampler() { return std::make_unique<QuotaSampler>(); }

}  // namespace unmask
