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
  int32_t step = 0;    // forwards of this request so far, from 1
  const Canvas& canvas;
  std::span<const Commit> commits;  // of this step
};

struct GenerateOptions {
  // Denoising steps that the schedule gives a block: block_length / steps positions are committed
  // at least in each. Without blocks, masked positions / steps.
  int32_t steps = 32;
  int32_t block_length = 0;  // blocks aligned to position 0, decoded left to right; 0: the canvas
                             // is one block (with block-causal models: the model's block)
  float temperature = 0.0f;
  SamplerOptions sampler = {};
  // A continuation ends at the first end token with nothing masked before it, and what is behind is
  // dropped. Gaps inside given text are always filled in whole.
  bool stop_at_end = true;

  std::function<void(const DenoisingEvent&)> on_step = {};
  const std::atomic<bool>* cancel = nullptr;  // looked at between steps
};

struct Generation {
  Canvas canvas;                // as decoding left it
  std::vector<int32_t> tokens;  // the text: up to the end token (not included) where one ended it,
                                // up to the first masked position when cancelled
  bool ended = false;           // by an end token
  bool cancelled = false;
  int32_t forwards = 0;  // denoising steps of this request
  int32_t committed = 0;
  // Distinct experts over all positions of the active block, mean over forwards (dMoE,
  // arXiv 2605.30876, "unique experts"); [layers], 0 in dense layers.
  std::vector<double> unique_experts;

  double tokens_per_forward() const {
    return forwards ? static_cast<double>(committed) / forwards : 0.0;
  }
};

// What generating a batch of requests took.
struct GenerateReport {
  int64_t forwards = 0;      // of the whole batch
  int64_t expert_bytes = 0;  // expert weights that those forwards read, each expert once a layer
  double seconds = 0;
  double sampling_seconds = 0;
  Profile profile;          // of the model
  int64_t peak_memory = 0;  // bytes resident at most, of the process until now
};

// Denoises every request until it is done. A request gives the tokens it would give alone: its
// randomness depends on its own seed and steps, and only sequences that are not finished take part
// in a forward pass. The routers see the mask ratio that the canvas has at each step.
// Fails on canvases that are empty or longer than the model's positions, tokens outside the
// vocabulary, impossible options, and on hidden states that are not finite.
Result<std::vector<Generation>> generate(Model& model, std::span<const GenerateRequest> requests,
                                         const GenerateOptions& options, Tape& tape,
                                         GenerateReport* report = nullptr);

}  // namespace unmask
