#include <set>
#include <span>

#include "unmask/base/check.h"
#include "unmask/base/random.h"
#include "unmask/diffusion/samplers.h"
#include "unmask/diffusion/threshold_rule.h"

namespace unmask {
namespace {

constexpr int32_t kExtraSteps = 16;  // with none of the original masks left
constexpr int32_t kMostSteps = 1000;
constexpr int kEscapes = 5;

// A generated position of the block.
struct Slot {
  int32_t token = 0;
  float confidence = 0.0f;  // of the token, when it was written
  bool masked = true;
  bool original = true;  // not made by an edit: masked when the block began, or moved from there
};

// The editing of LLaDA2.2 (technical report, section 3.1, and the decoding of its checkpoints):
// masked positions by the threshold rule, written ones take another argmax above the edit
// threshold; and both may take the model's delete or insert token, which then remove their position
// or put a mask before it. The block keeps its length: what is behind moves, masks fill its end.
class LevenshteinSampler : public Sampler {
 public:
  LevenshteinSampler(float threshold, float edit_threshold)
      : rule_(threshold), edit_threshold_(edit_threshold) {}

  void choose(const DenoisingStep& step, Choice& choice) override {
    if (step.block_step == 0) begin_block(step);
    DenoisingStep open = step;  // to edit tokens too
    open.delete_token = open.insert_token = -1;
    propose(open, choice);
    propose_edits(open, of_written_);
    find_rows(step);
    take_candidates(choice.provisional);

    const bool last = count_extra_steps() || step.block_step + 1 == kMostSteps;
    choose_writes(step, last, choice);
    if (last) {
      write_without_edits(step);
    } else {
      escape(open);
    }
    seen_.insert(tokens());
    const std::vector<Moved> after = edited(step);
    report(after, choice);
    const bool unchanged =
        step.positions.empty() && choice.edits.empty() && choice.remasked.empty();
    choice.settled = last || unchanged;
    for (size_t i = 0; i < slots_.size(); ++i) slots_[i] = after[i].slot;
  }
  bool edits() const override { return true; }
  bool inserts_and_deletes() const override { return true; }

 private:
  // A slot after the edits, and the index of the one it was before; -1: a new mask.
  struct Moved {
    Slot slot;
    int64_t from = -1;
  };

  void begin_block(const DenoisingStep& step) {
    positions_.assign(step.positions.begin(), step.positions.end());
    slots_.assign(positions_.size(), {.token = step.mask_token});
    seen_.clear();
    extra_steps_ = 0;
  }

  // Logits are those of masked positions, then of written ones.
  void find_rows(const DenoisingStep& step) {
    UNMASK_CHECK(step.positions.size() + step.written.size() == slots_.size());
    row_.clear();
    int64_t masked = 0, written = std::ssize(step.positions);
    for (const Slot& slot : slots_) row_.push_back(slot.masked ? masked++ : written++);
    UNMASK_CHECK(masked == std::ssize(step.positions));
  }

  void take_candidates(std::span<const Commit> of_masked) {
    candidates_.clear();
    const auto masked = std::ssize(of_masked);
    for (const int64_t row : row_) {
      candidates_.push_back(row < masked ? of_masked[row] : of_written_[row - masked]);
    }
  }

  // Whether this is the last of them. No edit brings an original mask back.
  bool count_extra_steps() {
    extra_steps_ +=
        std::ranges::none_of(slots_, [](const Slot& s) { return s.masked && s.original; });
    return extra_steps_ == kExtraSteps;
  }

  // Masks that edits made are asked for at once, besides the share of the original ones.
  void choose_writes(const DenoisingStep& step, bool last, Choice& choice) {
    const auto made =
        std::ranges::count_if(slots_, [](const Slot& s) { return s.masked && !s.original; });
    const bool all = last || step.block_step >= step.steps;
    const auto size = static_cast<int32_t>(slots_.size());
    rule_.commit(
        all ? size : quota_at(size, step.steps, step.block_step) + static_cast<int32_t>(made),
        choice);
    writes_.assign(slots_.size(), 0);
    size_t next = 0;
    for (size_t i = 0; i < slots_.size(); ++i) {
      const Commit& candidate = candidates_[i];
      if (!slots_[i].masked) {
        writes_[i] = candidate.token != slots_[i].token && candidate.confidence > edit_threshold_;
      } else if (next < choice.commits.size() && choice.commits[next].position == positions_[i]) {
        writes_[i] = 1;
        ++next;
      }
    }
  }

  int32_t token_at(size_t i) const { return writes_[i] ? candidates_[i].token : slots_[i].token; }
  // The block as it is to be, before its edits are made.
  std::vector<int32_t> tokens() const {
    std::vector<int32_t> all;
    for (size_t i = 0; i < slots_.size(); ++i) all.push_back(token_at(i));
    return all;
  }

  void write_without_edits(const DenoisingStep& step) {
    const int32_t edit_tokens[] = {step.delete_token, step.insert_token};
    for (size_t i = 0; i < slots_.size(); ++i) {
      const bool asks = std::ranges::count(edit_tokens, candidates_[i].token) > 0;
      if (writes_[i] && asks) candidates_[i] = propose_at(step, row_[i], {});
    }
  }

  // A block that was there before would lead to what followed then: one of its new tokens becomes
  // another.
  void escape(const DenoisingStep& step) {
    for (int attempt = 0; attempt < kEscapes && seen_.contains(tokens()); ++attempt) {
      std::vector<size_t> changed;
      for (size_t i = 0; i < slots_.size(); ++i) {
        if (token_at(i) != slots_[i].token) changed.push_back(i);
      }
      if (changed.empty()) return;
      const RandomKey key{step.seed, Purpose::commit_order};
      const size_t i =
          changed[random_below(key, changed.size(), step.step, static_cast<uint32_t>(attempt))];
      const int32_t token[] = {token_at(i)};
      candidates_[i] = propose_at(step, row_[i], token);
    }
  }

  // Positions move within a run of neighbours, so that given text stays where it is.
  std::vector<Moved> edited(const DenoisingStep& step) const {
    const Moved mask = {.slot = {.token = step.mask_token, .masked = true, .original = false}};
    std::vector<Moved> after;
    for (size_t begin = 0, end = 0; begin < slots_.size(); begin = end) {
      while (++end < slots_.size() && positions_[end] == positions_[end - 1] + 1) {
      }
      for (size_t i = begin; i < end; ++i) {
        const auto from = static_cast<int64_t>(i);
        const int32_t token = token_at(i);
        if (token == step.delete_token) continue;
        if (token == step.insert_token) {
          after.push_back(mask);
          after.push_back({slots_[i], from});
        } else {
          const bool masked = slots_[i].masked && !writes_[i];
          const float confidence = writes_[i] ? candidates_[i].confidence : slots_[i].confidence;
          after.push_back({{token, confidence, masked, slots_[i].original}, from});
        }
      }
      after.resize(end, mask);
    }
    return after;
  }

  // What became of each position.
  void report(std::span<const Moved> after, Choice& choice) const {
    choice.clear();
    for (size_t i = 0; i < slots_.size(); ++i) {
      const auto& [slot, from] = after[i];
      const int32_t position = positions_[i];
      const Commit here = {position, slot.token, slot.confidence};
      if (slot.masked) {
        if (!slots_[i].masked) choice.remasked.push_back(position);
        if (from < 0) continue;
        const Commit& candidate = candidates_[from];
        choice.provisional.push_back({position, candidate.token, candidate.confidence});
      } else if (slots_[i].masked) {
        choice.commits.push_back(here);
      } else if (slot.token != slots_[i].token) {
        choice.edits.push_back(here);
      }
    }
  }

  ThresholdRule rule_;
  float edit_threshold_;

  // Of the block.
  std::vector<int32_t> positions_;  // ascending
  std::vector<Slot> slots_;         // at the positions
  std::set<std::vector<int32_t>> seen_;
  int32_t extra_steps_ = 0;

  // Of the step, for each slot.
  std::vector<int64_t> row_;
  std::vector<Commit> candidates_;
  std::vector<uint8_t> writes_;
  std::vector<Commit> of_written_;  // for each written position
};

}  // namespace

std::unique_ptr<Sampler> make_levenshtein_sampler(float threshold, float edit_threshold) {
  return std::make_unique<LevenshteinSampler>(threshold, edit_threshold);
}

}  // namespace unmask
