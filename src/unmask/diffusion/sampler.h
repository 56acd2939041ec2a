#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/random.h"
#include "unmask/base/result.h"
#include "unmask/base/view.h"

namespace unmask {

// What a sampler decides: this token at this position, for good.
struct Commit {
  int32_t position = 0;  // of the canvas
  int32_t token = 0;
  float confidence = 0.0f;  // un-tempered probability of the token, the mask token excluded
};

// One denoising step as a sampler sees it.
struct DenoisingStep {
  Matrix logits;                       // [candidates, vocab], may be overwritten
  std::span<const int32_t> positions;  // [candidates] masked canvas positions, ascending
  int32_t quota = 1;                   // commits that the schedule asks for at this step, >= 1
  int32_t mask_token = 0;              // never chosen: its logit counts as -inf
  float temperature = 0.0f;            // 0: argmax
  uint64_t seed = 0;                   // of the request
  uint64_t step = 0;                   // of the request
};

struct SamplerOptions {
  std::string policy = "quota";
  float threshold = 0.95f;
};

// Chooses commits from logits. Owns no model and mutates no canvas; what a policy must remember
// between steps it keeps in itself, so each request gets an object of its own (make_sampler).
// Every policy commits at least one position in each step, so decoding always ends.
class Sampler {
 public:
  virtual ~Sampler() = default;
  // Fills `commits`, at least one and each position at most once, ascending in position.
  virtual void choose(const DenoisingStep& step, std::vector<Commit>& commits) = 0;
};

// The policies of docs/decoding.md by name, or a usage error that lists them.
Result<std::unique_ptr<Sampler>> make_sampler(const SamplerOptions& options);
std::span<const std::string_view> sampler_names();

// The token that each candidate would take, with its confidence: the argmax (lowest id among
// equals), or with temperature T > 0 the argmax of z - T log(-log u), which draws from
// softmax(z / T) (Gumbel-max). u is the counter number (step, position, token).
void propose(const DenoisingStep& step, std::vector<Commit>& proposals);

// Leaves the `count` most confident of the proposals (at least one, at most all; of equals the
// lowest positions), ascending in position.
void keep_most_confident(std::vector<Commit>& proposals, int32_t count);

// How many of m masked positions step s of `steps` commits (0-based): floor(m / steps), and one
// more in the first m mod steps; sums to m over all steps. At least one, also when steps > m.
int32_t quota_at(int32_t m, int32_t steps, int32_t s);

// The policies, one file each.
std::unique_ptr<Sampler> make_quota_sampler();
std::unique_ptr<Sampler> make_threshold_sampler(float threshold);

}  // namespace unmask
