#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/diffusion/canvas.h"
#include "unmask/diffusion/sampler.h"
#include "unmask/model/model.h"
#include "unmask/model/profile.h"

namespace unmask {

struct GenerateRequest {
  Canvas canvas;  // what is masked in it is to be written
  uint64_t seed = 0;
};

// A request after a denoising step, for streaming and for watching.
struct DenoisingEvent {
  size_t request = 0;  // index among the requests
  int32_t step = 0;    // denoising steps of this request so far, from 1
  const Canvas& canvas;
  std::span<const Commit> commits;      // of this step
  std::span<const Commit> provisional;  // what is still masked in the active block would be
  std::span<const Commit> edits;        // written positions that took another token
};

struct GenerateOptions {
  // Denoising steps that the schedule gives a block: block_length / steps positions are committed
  // at least in each. Without blocks, masked positions / steps.
  int32_t steps = 32;
  // Blocks aligned to position 0, decoded left to right; block-causal models attend in them (the
  // generate of LLaDA2 and SDAR). 0: the canvas is one block, with block-causal models the model's.
  int32_t block_length = 0;
  float temperature = 0.0f;
  int32_t top_k = 0;  // as in DenoisingStep
  float top_p = 1.0f;
  SamplerOptions sampler = {};
  // Classifier-free guidance w >= 0 (Nie et al., arXiv 2410.18514): every step runs the canvas a
  // second time with all given tokens masked, and the sampler sees u + (w + 1) (c - u), u the
  // logits without and c those with what is given. 0: the logits c, in one run. Without a cache
  // only.
  float guidance = 0.0f;

  // Keep keys and values of finished blocks (KvCache), with block-causal models. Routing then sees
  // the rows that a pass computes: all of the finished blocks that it adds, or the active block.
  // `automatic`: where that gives the same tokens as computing all blocks again at every step.
  //
  // With models that attend to the whole canvas keys and values change at every step, and using old
  // ones is an approximation (Fast-dLLM, arXiv 2505.22618). The first step in a block computes
  // the whole canvas; the others `prefix`: the block and all behind it; `dual`: the block;
  // `vicinity`: the block and 16 positions on each side, but the whole canvas in the first 4 steps
  // of a request.
  enum class Cache { automatic, off, on, prefix, dual, vicinity };
  Cache cache = Cache::automatic;

  // A continuation ends at the first end token with nothing masked before it, and what is behind is
  // dropped. Gaps inside given text are always filled in whole.
  bool stop_at_end = true;
  std::vector<int32_t> stop_tokens = {};  // end tokens besides the model's
  // Looks at what a continuation has written up to its first masked position, and says how many of
  // those tokens to keep if it ends there, else -1.
  std::function<int32_t(std::span<const int32_t> written)> stop = {};

  std::function<void(const DenoisingEvent&)> on_step = {};
  const std::atomic<bool>* cancel = nullptr;  // looked at between steps
};

struct Generation {
  Canvas canvas;                // as decoding left it
  std::vector<int32_t> tokens;  // the text: up to the end token (not included) where one ended it,
                                // up to the first masked position when cancelled
  std::vector<float> confidence;  // [tokens] probability each had when it was written; 1 if given
  bool ended = false;             // by an end token, or by `stop`
  bool stopped = false;           // by `stop`
  bool cancelled = false;
  int32_t forwards = 0;          // denoising steps of this request
  int32_t prefill_forwards = 0;  // passes that put given blocks into the cache
  int32_t commit_forwards = 0;   // passes that put written blocks into the cache
  int32_t committed = 0;
  int32_t edited = 0;
  // Distinct experts over all positions of the active block, mean over denoising forwards (dMoE,
  // arXiv 2605.30876, "unique experts"); [layers], 0 in dense layers.
  std::vector<double> unique_experts;
  // The same for each denoising forward, mean over the routed layers; [forwards].
  std::vector<float> unique_experts_by_step;

  double tokens_per_forward() const {
    return forwards ? static_cast<double>(committed) / forwards : 0.0;
  }
};

// What generating a batch of requests took. A pass computes what every unfinished request needs
// next, so it may denoise one and put a block of another into its cache.
struct GenerateReport {
  int64_t forwards = 0;          // passes
  int64_t denoise_forwards = 0;  // those that denoise any request
  int64_t expert_bytes = 0;      // expert weights that the passes read, each expert once a layer
  int64_t denoise_expert_bytes = 0;  // of those that denoise
  int64_t cache_bytes = 0;           // of keys and values
  double seconds = 0;
  double sampling_seconds = 0;
  Profile profile;                             // of the model
  int64_t peak_memory = 0;                     // bytes resident at most, of the process until now
  std::optional<ExpertCache::Counts> experts;  // of a model whose experts are read as needed

  // What was generated afterwards.
  void add(const GenerateReport& more);
};

// Denoises every request until it is done. A request gives the tokens it would give alone: its
// randomness depends on its own seed and steps, and only sequences that are not finished take part
// in a forward pass; one at a time where routing lets sequences compete for experts (drops,
// selection by the batch). The routers see the mask ratio that the canvas has at each step.
// Fails on canvases that are empty or longer than the model's positions, tokens outside the
// vocabulary, impossible options, and on hidden states that are not finite.
Result<std::vector<Generation>> generate(Model& model, std::span<const GenerateRequest> requests,
                                         const GenerateOptions& options, Tape& tape,
                                         GenerateReport* report = nullptr);

// Whether a text ends at this token.
bool is_end(int32_t token, const GenerateOptions& options, const ModelConfig& config);

// Whether a model can decode so; `generate` checks it too.
Status check_options(const GenerateOptions& options, const ModelConfig& config);

// What `automatic` decides: whether the assignment of a block's tokens depends on that block alone,
// for blocks of `block_length` positions of a block-causal model.
bool routes_block_by_block(const ModelConfig& config, int32_t block_length);

}  // namespace unmask
