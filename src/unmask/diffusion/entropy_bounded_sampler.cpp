#include "unmask/diffusion/proposals.h"
#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

// By rising entropy, as many positions as have a sum of entropies within the bound, the first
// always (Ben-Hamu et al., "Accelerated sampling from masked diffusion models via entropy bounded
// unmasking", arXiv 2505.24857; SDAR: 0.35). No quota.
class EntropyBoundedSampler : public Sampler {
 public:
  explicit EntropyBoundedSampler(float bound) : bound_(bound) {}

  void choose(const DenoisingStep& step, Choice& choice) override {
    measure_entropies(step, certainty_);
    for (float& entropy : certainty_) entropy = -entropy;
    propose(step, choice);
    ranking_.by(certainty_);
    int32_t n = 0;
    for (float sum = 0.0f; n < ranking_.size(); ++n) {
      sum -= ranking_.key(n);
      if (!(sum <= bound_)) break;
    }
    ranking_.commit_first(n, choice);
  }

 private:
  float bound_;
  std::vector<float> certainty_;
  Ranking ranking_;
};

}  // namespace

std::unique_ptr<Sampler> make_entropy_bounded_sampler(float bound) {
  return std::make_unique<EntropyBoundedSampler>(bound);
}

}  // namespace unmask
