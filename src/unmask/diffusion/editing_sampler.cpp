#include "unmask/diffusion/samplers.h"
#include "unmask/diffusion/threshold_rule.h"

namespace unmask {
namespace {

constexpr int32_t kMostExtraSteps = 16;  // of a block in which nothing is masked

// The threshold rule for masked positions; and written ones take another token where that one is
// the argmax with a probability above the edit threshold (LLaDA2.1: 0.9).
class EditingSampler : public Sampler {
 public:
  EditingSampler(float threshold, float edit_threshold)
      : rule_(threshold), edit_threshold_(edit_threshold) {}

  void choose(const DenoisingStep& step, Choice& choice) override {
    if (step.block_step == 0) extra_steps_ = 0;
    propose(step, choice);
    if (!step.positions.empty()) rule_.commit(step.quota, choice);
    propose_edits(step, proposals_);
    for (size_t i = 0; i < proposals_.size(); ++i) {
      const bool other = proposals_[i].token != step.written_tokens[i];
      if (other && proposals_[i].confidence > edit_threshold_)
        choice.edits.push_back(proposals_[i]);
    }
    extra_steps_ += step.positions.empty();
    choice.settled =
        step.positions.empty() && (choice.edits.empty() || extra_steps_ == kMostExtraSteps);
  }
  bool edits() const override { return true; }

 private:
  ThresholdRule rule_;
  float edit_threshold_;
  int32_t extra_steps_ = 0;
  std::vector<Commit> proposals_;
};

}  // namespace

std::unique_ptr<Sampler> make_editing_sampler(float threshold, float edit_threshold) {
  return std::make_unique<EditingSampler>(threshold, edit_threshold);
}

}  // namespace unmask
