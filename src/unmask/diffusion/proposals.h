#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "unmask/diffusion/sampler.h"

namespace unmask {

// What the samplers are made of.

// choice.provisional = the token that each candidate would take, with its confidence; no commits,
// no edits. The token is the argmax (lowest id among equals), or with temperature T > 0 the argmax
// of z - T log(-log u), which draws from softmax(z / T) (Gumbel-max), over the tokens that top-k
// and top-p leave. u is the counter number (step, position, token).
void propose(const DenoisingStep& step, Choice& choice);

// The argmax at the written positions, with its confidence.
void propose_edits(const DenoisingStep& step, std::vector<Commit>& proposals);

// What is proposed for a row of the logits, of a masked or a written position, where some more
// tokens are not allowed.
Commit propose_at(const DenoisingStep& step, int64_t row, std::span<const int32_t> without);

// Of softmax(z) of each candidate without the mask token: the entropy in nats, and the probability
// of the most probable token less that of the second.
void measure_entropies(const DenoisingStep& step, std::vector<float>& entropy);
void measure_margins(const DenoisingStep& step, std::vector<float>& margin);

// Candidates by falling key, of equals the lower position first; NaN comes last.
class Ranking {
 public:
  void by(std::span<const float> keys);
  void by_confidence(const Choice& choice);  // of the proposals

  int32_t size() const { return static_cast<int32_t>(order_.size()); }
  float key(int32_t rank) const { return keys_[order_[rank]]; }

  // The first `count` (at least one, at most all) become commits.
  void commit_first(int32_t count, Choice& choice);

 private:
  std::vector<float> keys_;
  std::vector<int32_t> order_;
  std::vector<uint8_t> chosen_;
};

// The proposals with chosen[i] != 0 become commits.
void commit_chosen(std::span<const uint8_t> chosen, Choice& choice);

}  // namespace unmask
