#include "unmask/diffusion/generate.h"

#include <algorithm>

#include "unmask/base/clock.h"
#include "unmask/base/memory.h"
#include "unmask/diffusion/decoding.h"
#include "unmask/diffusion/forward_batch.h"
#include "unmask/routing/registry.h"

namespace unmask {
namespace {

using Cache = GenerateOptions::Cache;

Status check_canvas(const Canvas& canvas, const ModelConfig& config) {
  if (canvas.size() == 0) return usage_error("nothing to generate: the canvas is empty");
  if (canvas.size() > config.max_positions) {
    return usage_error(
        "prompt and generated length need {} positions, the model has {}: shorten the prompt or "
        "generate less",
        canvas.size(), config.max_positions);
  }
  for (const int32_t token : canvas.tokens()) {
    if (token < 0 || token >= config.vocab_size) {
      return usage_error("token {} in the prompt: expected ids below the vocabulary size {}", token,
                         config.vocab_size);
    }
  }
  return {};
}

bool uses_cache(const GenerateOptions& options, const ModelConfig& config) {
  if (options.cache == Cache::off || options.guidance > 0.0f) return false;
  if (config.attention_block == 0) return options.cache != Cache::automatic;
  const int32_t length = options.block_length ? options.block_length : config.attention_block;
  return options.cache == Cache::on || routes_block_by_block(config, length);
}

int64_t expert_bytes(const Tape& tape, const ModelWeights& weights) {
  int64_t bytes = 0;
  for (size_t i = 0; i < tape.layers.size(); ++i) {
    const Assignment& assignment = tape.layers[i].routing.assignment;
    const int64_t used = assignment.used_experts();
    if (used > 0) bytes += used * expert_bytes(weights.layers[i].moe, assignment.experts);
  }
  return bytes;
}

// Whether what a sequence is given depends on the others of a pass.
bool shares_experts_with_others(const RoutingPolicy& policy) {
  return policy.drop ||
         (chooser_of(policy) == Chooser::expert && policy.selection == RoutingPolicy::Group::batch);
}

void advance(std::span<Decoding* const> active, const Tape& tape, Matrix logits, double& seconds) {
  const ProfileScope sampling(seconds);
  int64_t row = 0;
  for (Decoding* decoding : active) {
    const int64_t count = decoding->logit_rows();
    decoding->advance(tape, logits.row_range(row, count));
    row += count;
  }
}

}  // namespace

bool is_end(int32_t token, const GenerateOptions& options, const ModelConfig& config) {
  return config.ends(token) || std::ranges::count(options.stop_tokens, token) > 0;
}

Status check_options(const GenerateOptions& options, const ModelConfig& config) {
  constexpr float kMost = 1000;  // far from where logits would overflow
  if (options.steps < 1) return usage_error("steps {}: expected at least 1", options.steps);
  if (!(options.temperature >= 0.0f && options.temperature <= kMost)) {
    return usage_error("temperature {}: expected 0 to {}", options.temperature, kMost);
  }
  if (options.top_k < 0) {
    return usage_error("top-k {}: expected 0 (all tokens) or more", options.top_k);
  }
  if (!(options.top_p > 0.0f && options.top_p <= 1.0f)) {
    return usage_error("top-p {}: expected a probability above 0 and at most 1", options.top_p);
  }
  if (!(options.guidance >= 0.0f && options.guidance <= kMost)) {
    return usage_error("guidance {}: expected 0 (none) to {}", options.guidance, kMost);
  }
  if (options.guidance > 0.0f && options.cache != Cache::automatic && options.cache != Cache::off) {
    return usage_error(
        "guidance {}: the canvas without what is given has no cache; expected cache auto or off",
        options.guidance);
  }
  if (options.guidance > 0.0f && shares_experts_with_others(config.routing)) {
    return usage_error(
        "guidance {}: the canvas without what is given would compete for experts with the one that "
        "has it; expected routing without drops and not among a whole batch",
        options.guidance);
  }
  if (options.block_length < 0) {
    return usage_error("block length {}: expected 0 (one block) or more", options.block_length);
  }
  if (options.cache == Cache::on && config.attention_block == 0) {
    return usage_error(
        "cache on: this model attends to the whole canvas, so keys and values change at every "
        "step; expected auto, off, prefix, dual or vicinity");
  }
  const bool approximate = options.cache == Cache::prefix || options.cache == Cache::dual ||
                           options.cache == Cache::vicinity;
  if (approximate && config.attention_block > 0) {
    return usage_error(
        "cache prefix, dual, vicinity: for models that attend to the whole canvas; this one "
        "attends in blocks, expected auto, on or off");
  }
  if (approximate && options.block_length == 0) {
    return usage_error(
        "cache prefix, dual, vicinity: the whole canvas is one block, and old keys and values are "
        "of what is outside of it; expected a block length");
  }
  UNMASK_TRY(const auto sampler, make_sampler(options.sampler));
  if (sampler->inserts_and_deletes() && !config.edits_blocks()) {
    return usage_error(
        "sampler {}: this model predicts no insertions and deletions (delete_token_id and "
        "split_token_id of config.json); the sampler editing replaces tokens",
        options.sampler.policy);
  }
  return {};
}

void GenerateReport::add(const GenerateReport& more) {
  forwards += more.forwards;
  denoise_forwards += more.denoise_forwards;
  expert_bytes += more.expert_bytes;
  denoise_expert_bytes += more.denoise_expert_bytes;
  cache_bytes = std::max(cache_bytes, more.cache_bytes);
  seconds += more.seconds;
  sampling_seconds += more.sampling_seconds;
  profile.add(more.profile, 1);
  peak_memory = std::max(peak_memory, more.peak_memory);
  if (!experts) {
    experts = more.experts;
  } else if (more.experts) {
    experts->add(*more.experts);
  }
}

bool routes_block_by_block(const ModelConfig& config, int32_t block_length) {
  const RoutingPolicy& policy = config.routing;
  const bool whole_blocks = block_length % policy.block.size == 0;
  using Selection = RoutingPolicy::Selection;
  if (chooser_of(policy) == Chooser::expert) {
    const bool in_blocks = policy.policy == Selection::coreset_expert_choice ||
                           policy.selection == RoutingPolicy::Group::block;
    // A schedule reads the mask ratio of all rows of the sequence that a pass computes.
    return in_blocks && whole_blocks && !policy.capacity;
  }
  const bool alone = policy.policy == Selection::token_choice || policy.policy == Selection::top_k;
  return !policy.drop && (alone || whole_blocks);
}

Result<std::vector<Generation>> generate(Model& model, std::span<const GenerateRequest> requests,
                                         const GenerateOptions& options, Tape& tape,
                                         GenerateReport* report) {
  const ModelConfig& config = model.config();
  UNMASK_TRY_STATUS(check_options(options, config));
  std::optional<Precision> cache;
  if (uses_cache(options, config)) cache = model.options().precision;
  std::vector<Decoding> decodings;
  GenerateReport totals;
  for (size_t i = 0; i < requests.size(); ++i) {
    UNMASK_TRY_STATUS(check_canvas(requests[i].canvas, config));
    UNMASK_TRY(auto sampler, make_sampler(options.sampler));
    decodings.emplace_back(i, requests[i], std::move(sampler), cache, options, config);
    totals.cache_bytes += decodings.back().cache_bytes();
  }

  const ExpertCache* const experts = expert_cache_of(model.weights());
  const ExpertCache::Counts before = experts ? experts->counts() : ExpertCache::Counts();
  tape.mode = Tape::Mode::inference;
  tape.profile = {};
  BatchLayout layout = decoding_layout(config);
  if (options.block_length > 0) layout.block_size = options.block_length;
  ForwardBatch batch;
  std::vector<int32_t> rows;
  std::vector<Decoding*> active;
  const size_t at_once = shares_experts_with_others(config.routing) ? 1 : decodings.size();
  const double begin = seconds_now();
  while (!(options.cancel && options.cancel->load())) {
    batch.clear();
    rows.clear();
    active.clear();
    for (Decoding& decoding : decodings) {
      if (decoding.done() || active.size() == at_once || batch.rows() >= kRowsOfPass) continue;
      decoding.add_to(layout, batch, rows);
      active.push_back(&decoding);
    }
    if (active.empty()) break;
    batch.finish(layout);
    model.forward(batch.batch(), tape);
    UNMASK_TRY(const Matrix logits, model.logits(tape, rows));
    const int64_t bytes = expert_bytes(tape, model.weights());
    ++totals.forwards;
    totals.expert_bytes += bytes;
    if (std::ranges::any_of(active, &Decoding::denoises)) {
      ++totals.denoise_forwards;
      totals.denoise_expert_bytes += bytes;
    }
    advance(active, tape, logits, totals.sampling_seconds);
    if (!options.on_step) continue;
    for (const Decoding* decoding : active) {
      if (decoding->denoises()) options.on_step(decoding->event());
    }
  }
  totals.seconds = seconds_now() - begin;
  totals.profile = tape.profile;
  totals.peak_memory = peak_memory();
  if (experts) totals.experts = experts->counts().since(before);
  if (report) *report = totals;

  std::vector<Generation> results;
  for (Decoding& decoding : decodings) results.push_back(decoding.finish());
  return results;
}

}  // namespace unmask
