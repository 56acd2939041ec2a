#include "unmask/diffusion/proposals.h"
#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

// By falling confidence, rank n (from 1) as long as c_(n) >= 1 - f / (n + 1); rank 1 always. The
// more positions are decided at once, the surer each must be (Fast-dLLM, arXiv 2505.22618,
// factor-based parallel decoding).
class FactorSampler : public Sampler {
 public:
  explicit FactorSampler(float factor) : factor_(factor) {}

  void choose(const DenoisingStep& step, Choice& choice) override {
    propose(step, choice);
    ranking_.by_confidence(choice);
    int32_t n = 0;
    while (n < ranking_.size() &&
           ranking_.key(n) >= 1.0f - factor_ / (static_cast<float>(n + 1) + 1.0f)) {
      ++n;
    }
    ranking_.commit_first(n, choice);
  }

 private:
  float factor_;
  Ranking ranking_;
};

}  // namespace

std::unique_ptr<Sampler> make_factor_sampler(float factor) {
  return std::make_unique<FactorSampler>(factor);
}

}  // namespace unmask
