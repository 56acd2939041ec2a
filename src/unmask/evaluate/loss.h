#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/diffusion/validation.h"
#include "unmask/model/model.h"
#include "unmask/text/sequences.h"

namespace unmask {

CleanBatch clean_batch(const SequenceBatch& sequences);  // borrows

// At most `limit` sequences (0: all), evenly spaced over the source.
Result<SequenceBatch> read_evaluation_data(const SequenceSource& source, int64_t limit);

struct EvaluateOptions {
  int32_t draws = 1;               // stratified mask ratios for each sequence
  std::vector<float> levels = {};  // measured besides, if any
  int32_t batch_sequences = 8;
  uint64_t seed = 0;
  const std::atomic<bool>* cancel = nullptr;  // once set, what is returned is not whole
};

struct Evaluation {
  ValidationLoss stratified;             // the likelihood bound, its perplexity and its bins
  std::optional<ValidationLoss> levels;  // at the fixed mask probabilities
  int64_t sequences = 0;
  double seconds = 0;
};

// The layout that a model's loss is measured in: the one it was made for. Block-causal models
// predict a noisy block behind clean ones, [noisy | clean]; others see the whole sequence.
BatchLayout evaluation_layout(const ModelConfig& config);

// Refuses levels outside [0, 1] and sequences longer than the model's positions.
Result<Evaluation> evaluate_loss(Model& model, const CleanBatch& sequences,
                                 const EvaluateOptions& options, Tape& tape);

}  // namespace unmask
