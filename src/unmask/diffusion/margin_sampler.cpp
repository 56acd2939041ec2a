#include "unmask/diffusion/proposals.h"
#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

// The quota, at the positions where the most probable token leads the second by most (Kim et al.,
// "Train for the worst, plan for the best", arXiv 2502.06768, top-k probability margin).
class MarginSampler : public Sampler {
 public:
  void choose(const DenoisingStep& step, Choice& choice) override {
    measure_margins(step, margins_);
    propose(step, choice);
    ranking_.by(margins_);
    ranking_.commit_first(step.quota, choice);
  }

 private:
  std::vector<float> margins_;
  Ranking ranking_;
};

}  // namespace

std::unique_ptr<Sampler> make_margin_sampler() { return std::make_unique<MarginSampler>(); }

}  // namespace unmask
