#pragma once

// Small models of every kind that the configuration can express, and batches for them.

#include "tests/support/numeric.h"
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "unmask/model/model.h"

namespace unmask {

// A batch that owns what it points at: sequences of the given lengths one after the other, each
// attending to itself (block-causally with blocks of `attention_block`, if not zero), every third
// token masked.
class TestBatch {
 public:
  TestBatch(const ModelConfig& config, std::vector<int32_t> lengths, uint64_t seed = 1);
  TestBatch(const TestBatch&) = delete;
  TestBatch& operator=(const TestBatch&) = delete;

  const Batch& get() const { return batch_; }
  // The last `count` rows of sequence b become padding: not attended, not routed.
  void pad(int32_t b, int32_t count);

  std::vector<int32_t> tokens, positions, sequence_begin;
  std::vector<float> mask_ratio;
  std::vector<uint8_t> masked, padding;
  AttentionPattern pattern;
  // Loss: every masked row, each with a weight of its own.
  std::vector<int32_t> loss_rows, targets;
  std::vector<float> weight;
  float confidence = 0;  // beta of the confidence term

 private:
  void build_pattern(int32_t block);
  std::vector<int32_t> attended_;  // [sequences] length without padding
  int32_t block_;
  Batch batch_;
};

struct ModelCase {
  std::string name;
  ModelConfig config;
  float confidence = 0;  // of batches to differentiate
};
inline void PrintTo(const ModelCase& model, std::ostream* out) { *out << model.name; }
std::vector<ModelCase> model_cases();

// Every parameter random, norm gains around one, biases not zero.
Model random_model(const ModelConfig& config, uint64_t seed = 7, ModelOptions options = {});

struct StepResult {
  double loss =
      0;  // cross-entropy (and confidence term) plus balance_scale times the auxiliary losses
  std::vector<float> row_loss;
  std::vector<float> row_entropy;  // of right predictions, with the confidence term
};
inline constexpr float kBalanceScale = 0.7f;

StepResult loss_of(Model& model, const TestBatch& batch, Tape& tape);
// Also += on the gradients.
StepResult step_of(Model& model, const TestBatch& batch, Tape& tape, Gradients& gradients);

}  // namespace unmask
