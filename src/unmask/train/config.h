#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/diffusion/objective.h"
#include "unmask/model/config.h"
#include "unmask/model/tape_plan.h"
#include "unmask/text/tokenizer.h"
#include "unmask/train/schedule.h"
#include "unmask/train/trainable.h"

namespace unmask {

// A training run as its TOML file says it (docs/training.md lists every key).
struct TrainConfig {
  std::string name = "run";

  struct Data {
    std::vector<std::string> paths;
    std::string tokenizer = "byte";
    SpecialTokens special;
    int32_t sequence_length = 256;
    double validation_fraction = 0.02;
  } data;

  // The checkpoint whose weights the run starts from; empty: random ones. It says what the model
  // is then, and its tokenizer is the default.
  std::string from;
  ModelConfig model;  // vocabulary and special tokens come from the tokenizer, or from `from`
  ModelOptions options;
  ObjectiveOptions objective;

  Trainable trainable = Trainable::all;
  int64_t steps = 1000;
  double epochs = 0;         // above 0: passes over the data, in place of `steps`
  int32_t batch = 16;        // sequences of one forward pass
  int32_t accumulation = 1;  // forward passes of one step
  uint64_t seed = 0;         // of initialisation, data order and noise

  LearningRate learning_rate;
  double warmup_share = 0;  // above 0: of the steps, in place of learning_rate.warmup
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0.1f;
  float clip = 1.0f;  // largest gradient norm; 0 = never clipped

  struct Evaluation {
    int64_t every = 0;                                           // steps; 0 = at the end only
    int32_t sequences = 64;                                      // of the held-out part, at most
    int32_t draws = 1;                                           // mask ratios for each
    std::vector<float> levels = {0.1f, 0.3f, 0.5f, 0.7f, 0.9f};  // mask ratios measured besides
    int64_t sample_every = 0;  // steps between samples; 0 = at the end only
    int32_t sample_length = 256;
  } evaluation;

  struct Checkpoint {
    int64_t every = 0;  // steps; 0 = at the end only
    int32_t keep = 2;   // newest ones kept, besides the best
  } checkpoint;

  int64_t log_every = 10;  // steps between metrics lines

  int64_t step_sequences() const { return int64_t{batch} * accumulation; }
  int64_t step_tokens() const { return step_sequences() * data.sequence_length; }
};

// Reads a configuration and refuses unknown keys, impossible sizes, and sizes that are not those of
// the checkpoint it starts from. What depends on the tokenizer (vocabulary, special tokens) is left
// for `adopt_tokenizer`.
Result<TrainConfig> train_config_from_json(const nlohmann::json& document, const std::string& file);

// The run has this many steps: the learning rate follows them.
void set_steps(int64_t steps, TrainConfig& config);

// Takes vocabulary size and special tokens over into config.model, or, where the run starts from a
// checkpoint, checks that they are the checkpoint's; and validates the whole.
Status adopt_tokenizer(const Tokenizer& tokenizer, TrainConfig& config);

}  // namespace unmask
