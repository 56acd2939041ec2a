#include <cmath>

#include "unmask/diffusion/credit.h"
#include "unmask/diffusion/samplers.h"
#include "unmask/diffusion/threshold_rule.h"

namespace unmask {
namespace {

// C <- beta C; C[i, argmax_i] += c_i^gamma for every masked position i; then the threshold rule on
// z + alpha log(1 + C): tokens that keep being preferred are decided earlier (dInfer,
// arXiv 2510.08666, credit decoding; alpha 0.7, beta 0.8, gamma 0.2).
class CreditSampler : public Sampler {
 public:
  CreditSampler(float threshold, float weight, float decay, float power)
      : rule_(threshold), weight_(weight), decay_(decay), power_(power) {}

  void choose(const DenoisingStep& step, Choice& choice) override {
    DenoisingStep greedy = step;
    greedy.temperature = 0.0f;  // credit goes to the preferred token, not to the drawn one
    propose(greedy, choice);
    credit_.decay(decay_);
    for (size_t i = 0; i < choice.provisional.size(); ++i) {
      const Commit& c = choice.provisional[i];
      credit_.add(c.position, c.token, std::pow(c.confidence, power_));
      credit_.raise(
          c.position, weight_,
          {step.logits.row(static_cast<int64_t>(i)), static_cast<size_t>(step.logits.cols)});
    }
    propose(step, choice);
    rule_.commit(step.quota, choice);
    for (const Commit& c : choice.commits) credit_.forget(c.position);
  }

 private:
  ThresholdRule rule_;
  float weight_, decay_, power_;
  Credit credit_;
};

}  // namespace

std::unique_ptr<Sampler> make_credit_sampler(float threshold, float weight, float decay,
                                             float power) {
  return std::make_unique<CreditSampler>(threshold, weight, decay, power);
}

}  // namespace unmask
