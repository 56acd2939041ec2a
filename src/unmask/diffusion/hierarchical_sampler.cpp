#include "unmask/diffusion/proposals.h"
#include "unmask/diffusion/samplers.h"

namespace unmask {
namespace {

// The most confident position of each run of neighbouring masked positions if it exceeds the low
// threshold, all that exceed the high one, and the most confident of all: runs are halved where
// they are surest, so that later positions have neighbours to lean on (dInfer, arXiv 2510.08666,
// hierarchical decoding; 0.9 and 0.4). No quota.
class HierarchicalSampler : public Sampler {
 public:
  HierarchicalSampler(float threshold, float low_threshold)
      : threshold_(threshold), low_threshold_(low_threshold) {}

  void choose(const DenoisingStep& step, Choice& choice) override {
    propose(step, choice);
    const std::vector<Commit>& proposals = choice.provisional;
    if (proposals.empty()) return;
    chosen_.assign(proposals.size(), 0);
    size_t best = 0;
    for (size_t begin = 0, end = 0; begin < proposals.size(); begin = end) {
      size_t best_of_run = begin;
      for (end = begin; end < proposals.size() && is_neighbour(proposals, begin, end); ++end) {
        if (proposals[end].confidence > threshold_) chosen_[end] = 1;
        if (proposals[end].confidence > proposals[best_of_run].confidence) best_of_run = end;
      }
      if (proposals[best_of_run].confidence > low_threshold_) chosen_[best_of_run] = 1;
      if (proposals[best_of_run].confidence > proposals[best].confidence) best = best_of_run;
    }
    chosen_[best] = 1;
    commit_chosen(chosen_, choice);
  }

 private:
  static bool is_neighbour(const std::vector<Commit>& proposals, size_t begin, size_t i) {
    return i == begin || proposals[i].position == proposals[i - 1].position + 1;
  }

  float threshold_, low_threshold_;
  std::vector<uint8_t> chosen_;
};

}  // namespace

std::unique_ptr<Sampler> make_hierarchical_sampler(float threshold, float low_threshold) {
  return std::make_unique<HierarchicalSampler>(threshold, low_threshold);
}

}  // namespace unmask
