#include <algorithm>
#include <cstdint>
#include <vector>

#include "unmask/diffusion/proposals.h"
#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

// The quota, from left to right (SDAR).
class SequentialSampler : public Sampler {
 public:
  void choose(const DenoisingStep& step, Choice& choice) override {
    propose(step, choice);
    chosen_.assign(step.positions.size(), 0);
    std::fill_n(chosen_.begin(), std::clamp<size_t>(step.quota, 1, chosen_.size()), 1);
    commit_chosen(chosen_, choice);
  }

 private:
  std::vector<uint8_t> chosen_;
};

}  // namespace

std::unique_ptr<Sampler> make_sequential_sampler() { return std::make_unique<SequentialSampler>(); }

}  // namespace unmask
