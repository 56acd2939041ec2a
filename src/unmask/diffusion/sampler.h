#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/base/view.h"

namespace unmask {

// What a sampler decides: this token at this position.
struct Commit {
  int32_t position = 0;  // of the canvas
  int32_t token = 0;
  float confidence = 0.0f;  // un-tempered probability of the token, the mask token excluded
};

// One denoising step as a sampler sees it.
struct DenoisingStep {
  Matrix logits;                            // [candidates + written, vocab], may be overwritten
  std::span<const int32_t> positions;       // [candidates] masked canvas positions, ascending
  std::span<const int32_t> written;         // [written] generated positions of the active block
  std::span<const int32_t> written_tokens;  // and what stands there; only for samplers that edit
  int32_t quota = 1;                        // commits that the schedule asks for at this step, >= 1
  int32_t steps = 1;                        // that the schedule gives a block
  int32_t block_step = 0;  // steps of the active block before this one; 0: it is a new one
  int32_t mask_token = 0;  // never chosen: its logit counts as -inf
  // Likewise, but with samplers that insert and delete (ModelConfig); negative: there are none.
  int32_t delete_token = -1;
  int32_t insert_token = -1;
  float temperature = 0.0f;  // 0: argmax
  int32_t top_k = 0;         // draw from the k most probable tokens; 0: all
  float top_p = 1.0f;  // draw from the fewest most probable ones whose tempered probabilities reach
                       // this sum
  uint64_t seed = 0;   // of the request
  uint64_t step = 0;   // of the request
};

// All ascending in position.
struct Choice {
  std::vector<Commit> commits;      // masked positions that are decided now
  std::vector<Commit> provisional;  // the others: what they would take if they had to
  std::vector<Commit> edits;        // written positions that take another token
  std::vector<int32_t> remasked;    // written positions that are masked again
  bool settled = false;             // of a sampler that edits: the block stays as it is now

  void clear() {
    commits.clear();
    provisional.clear();
    edits.clear();
    remasked.clear();
    settled = false;
  }
};

// Chooses commits from logits. Owns no model and mutates no canvas; what a policy must remember
// between steps it keeps in itself, so each request gets an object of its own (make_sampler).
// Every policy that does not edit commits at least one masked position where there is one, and one
// that does settles each block after a bounded number of steps, so decoding always ends.
class Sampler {
 public:
  virtual ~Sampler() = default;
  // Replaces what `choice` held.
  virtual void choose(const DenoisingStep& step, Choice& choice) = 0;
  // Whether written positions may be replaced: the sampler is then shown those of the active block
  // too, and called until nothing is masked and it says that the block is settled.
  virtual bool edits() const { return false; }
  // Whether it chooses the model's delete and insert tokens, and needs them.
  virtual bool inserts_and_deletes() const { return false; }
};

// A sampler by name, and its parameters; those left out have the sampler's defaults.
struct SamplerOptions {
  std::string policy = "quota";
  std::optional<float> threshold = {};
  std::optional<float> low_threshold = {};
  std::optional<float> factor = {};
  std::optional<float> credit_weight = {};
  std::optional<float> credit_decay = {};
  std::optional<float> credit_power = {};
  std::optional<float> entropy_bound = {};
  std::optional<float> edit_threshold = {};
};

// What a parameter is called, and which values it may have.
struct SamplerParameter {
  std::string_view name;
  std::optional<float> SamplerOptions::*value;
  std::string_view meaning;
  float least, most;  // `least` itself is permitted unless `above_least`
  bool above_least;
};

// The samplers of docs/decoding.md by name, or a usage error: an unknown name, a parameter out of
// its range, or one that the sampler does not have.
Result<std::unique_ptr<Sampler>> make_sampler(const SamplerOptions& options);
std::span<const std::string_view> sampler_names();
std::span<const SamplerParameter> sampler_parameters();
// The samplers that have it, with their defaults: "threshold 0.95, threshold-max 0.9".
std::string samplers_with(const SamplerParameter& parameter);

// How many of m masked positions step s of `steps` commits (0-based): floor(m / steps), and one
// more in the first m mod steps; sums to m over all steps. At least one, also when steps > m.
int32_t quota_at(int32_t m, int32_t steps, int32_t s);

}  // namespace unmask
