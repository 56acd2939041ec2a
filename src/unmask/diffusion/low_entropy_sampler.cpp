#include "unmask/diffusion/proposals.h"
#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

// The quota, at the positions of lowest entropy (Dream, arXiv 2508.15487, entropy remasking).
class LowEntropySampler : public Sampler {
 public:
  void choose(const DenoisingStep& step, Choice& choice) override {
    measure_entropies(step, certainty_);
    for (float& entropy : certainty_) entropy = -entropy;
    propose(step, choice);
    ranking_.by(certainty_);
    ranking_.commit_first(step.quota, choice);
  }

 private:
  std::vector<float> certainty_;
  Ranking ranking_;
};

}  // namespace

std::unique_ptr<Sampler> make_low_entropy_sampler() {
  return std::make_unique<LowEntropySampler>();
}

}  // namespace unmask
