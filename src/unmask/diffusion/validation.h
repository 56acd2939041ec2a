#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "unmask/diffusion/objective.h"
#include "unmask/diffusion/routing_summary.h"
#include "unmask/model/model.h"

namespace unmask {

// How validation chooses mask ratios. The noise is a function of the seed and of the index of the
// sequence alone: the same at every evaluation, whatever the batch size.
struct ValidationOptions {
  // Each sequence at each of these mask probabilities; empty: each sequence `draws` times, at
  // ratios that cover (0, 1) evenly (stratified: the golden-ratio sequence, whose every prefix is
  // nearly even, so a larger set measures its first sequences as a smaller one does).
  std::vector<float> levels = {};
  int32_t draws = 1;
  int32_t batch_sequences = 8;  // in one forward pass
  uint64_t seed = 0;
  const std::atomic<bool>* cancel = nullptr;  // ends it with what has been measured
};

// A mean of per-sequence losses (each the mean masked cross-entropy of a sequence, nats).
struct MeanLoss {
  double sum = 0;
  int64_t count = 0;
  double mean() const { return count ? sum / static_cast<double>(count) : 0.0; }
  void add(double loss) {
    sum += loss;
    ++count;
  }
  MeanLoss operator+(MeanLoss other) const { return {sum + other.sum, count + other.count}; }
};

struct ValidationLoss {
  static constexpr int32_t kBins = 100;

  MeanLoss all;                // over all measurements
  std::vector<MeanLoss> bins;  // [kBins] by realised mask ratio: bin i holds (i/kBins, (i+1)/kBins]
  std::vector<float> levels;   // those of the options
  std::vector<MeanLoss> level_loss;     // [levels]
  int64_t masked_tokens = 0;            // predictions made
  std::vector<RoutingSummary> routing;  // of each routed layer, over all measurements

  double loss() const { return all.mean(); }
  double perplexity() const;
  // The bins put together to `count` equal ones; count divides kBins.
  std::vector<MeanLoss> coarse_bins(int32_t count) const;
};

// Loss of the sequences (prompts and padding as in training) in the layout of the objective: the
// mean over measurements of the mean masked cross-entropy, whatever the weights it trains with.
// With stratified ratios that is the Monte-Carlo bound on the negative log-likelihood per token.
ValidationLoss validation_loss(Model& model, const BatchLayout& layout, const CleanBatch& sequences,
                               const ValidationOptions& options, Tape& tape);

}  // namespace unmask
