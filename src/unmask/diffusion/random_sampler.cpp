#include "unmask/base/random.h"
#include "unmask/diffusion/proposals.h"
#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

// The quota, at positions drawn uniformly (the reverse process of masked diffusion itself, with
// random remasking).
class RandomSampler : public Sampler {
 public:
  void choose(const DenoisingStep& step, Choice& choice) override {
    propose(step, choice);
    const RandomKey key{step.seed, Purpose::commit_order};
    keys_.clear();
    for (const int32_t position : step.positions) {
      keys_.push_back(random_uniform(key, step.step, static_cast<uint32_t>(position)));
    }
    ranking_.by(keys_);
    ranking_.commit_first(step.quota, choice);
  }

 private:
  std::vector<float> keys_;
  Ranking ranking_;
};

}  // namespace

std::unique_ptr<Sampler> make_random_sampler() { return std::make_unique<RandomSampler>(); }

}  // namespace unmask
