#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/base/view.h"
#include "unmask/diffusion/corruption.h"
#include "unmask/diffusion/forward_batch.h"
#include "unmask/model/model.h"

namespace unmask {

// Sequences as they come from a dataset: consecutive ones of the global batch of a step.
struct CleanBatch {
  View<const int32_t> tokens;              // [sequences, S]
  std::span<const int32_t> prompt_length;  // [sequences] or empty (0): given, never masked
  std::span<const int32_t> real_length;    // [sequences] or empty (S): behind it is padding
  int64_t first_sequence = 0;              // index of row 0 in the global batch
  int64_t batch_sequences = 0;             // of the global batch; 0: these are all

  int64_t sequences() const { return tokens.rows; }
  int64_t global_sequences() const { return batch_sequences ? batch_sequences : tokens.rows; }
  int32_t prompt(int64_t b) const { return prompt_length.empty() ? 0 : prompt_length[b]; }
  int32_t length(int64_t b) const {
    return real_length.empty() ? static_cast<int32_t>(tokens.cols) : real_length[b];
  }
  std::span<const int32_t> sequence(int64_t b) const {  // without its padding
    return {tokens.row(b), static_cast<size_t>(length(b))};
  }
};

struct ObjectiveOptions {
  // With B sequences of the global batch, S_b their lengths, m_b their masked positions:
  enum class Kind {
    elbo,   // sum CE / (m_b B): the mean over sequences of the mean masked CE, which is the 1/t
            // weighted bound with the realised ratio m_b / S_b for t (arXiv 2604.01622)
    plain,  // sum CE / (S_b B)
    sft,    // sum CE / sum_b m_b: the mean over the masked response positions (LLaDA2)
    block,  // sft on the noisy half of [noisy | clean] (dMoE, arXiv 2605.30876)
  };
  Kind kind = Kind::elbo;
  // beta of the confidence term: each CE becomes CE + beta r H, r = 1 where the prediction is right
  // (no logit above the target's), H its entropy, in the same weighted sum; 0 = off. dParallel
  // (arXiv 2509.26488; LLaDA2's CAP, beta 2) divides the sum of r H by that of r instead of by the
  // masked positions: known only after the forward pass, so that micro-batches would not add up.
  float confidence = 0.0f;
  MaskRatioRange mask_ratio = {};
  int32_t block_size = 32;     // of `block`
  bool document_mask = false;  // attention stays inside documents; not with `block`
};

// Sums over the whole step, by which losses are normalised. Those of the micro-batches of a
// step add up to it, so accumulated gradients equal those of one big batch.
struct StepTotals {
  int64_t sequences = 0;
  int64_t masked = 0;  // supervised masked positions
  StepTotals operator+(StepTotals other) const {
    return {sequences + other.sequences, masked + other.masked};
  }
};

// A corrupted batch with its targets: everything that a training step or a measurement reads.
struct PreparedBatch {
  ForwardBatch forward;
  std::vector<int32_t> rows;          // [masked] rows of the forward pass that are supervised
  std::vector<int32_t> targets;       // [masked] their clean tokens
  std::vector<float> weight;          // [masked] factor of each cross-entropy in the loss
  std::vector<float> loss;            // [masked] each cross-entropy, filled by the loss
  float confidence = 0.0f;            // beta of the confidence term, 0 = off
  std::vector<float> entropy;         // [masked] of right predictions, filled by that term
  std::vector<int32_t> masked_begin;  // [sequences + 1] which of those belong to sequence b
  float balance_scale = 0.0f;         // share of the step in the auxiliary losses

  int64_t sequences() const { return static_cast<int64_t>(masked_begin.size()) - 1; }
  int64_t masked(int64_t b) const { return masked_begin[b + 1] - masked_begin[b]; }
  std::span<const float> losses_of(int64_t b) const {
    return std::span(loss).subspan(static_cast<size_t>(masked_begin[b]),
                                   static_cast<size_t>(masked(b)));
  }

  void clear();
  void reserve(const BatchLayout& layout, int64_t sequences, int64_t tokens);
  // Appends a sequence without padding, corrupted where masked[i] = 1; weights are left to the
  // caller. `finish` ends the batch.
  void add(const BatchLayout& layout, std::span<const int32_t> tokens,
           std::span<const uint8_t> masked);
  void finish(const BatchLayout& layout);
};

// What to predict from what, and how much each prediction counts.
class Objective {
 public:
  // Refuses impossible options.
  static Result<Objective> create(const ObjectiveOptions& options, const ModelConfig& config,
                                  uint64_t seed);

  const ObjectiveOptions& options() const { return options_; }
  const BatchLayout& layout() const { return layout_; }

  // What this part of a step adds to its totals.
  StepTotals totals(const CleanBatch& clean, uint64_t step) const;

  // Corrupts the batch: a function of (seed, step, index in the global batch) alone. `totals` are
  // those of the whole step.
  void prepare(const CleanBatch& clean, uint64_t step, const StepTotals& totals,
               PreparedBatch& prepared) const;

 private:
  Objective() = default;
  int32_t corrupt(const CleanBatch& clean, uint64_t step, int64_t b,
                  std::span<uint8_t> masked) const;

  ObjectiveOptions options_;
  BatchLayout layout_;
  uint64_t seed_ = 0;
};

// The part of a step's loss that one batch contributes.
struct StepLoss {
  double cross_entropy = 0;  // nats, weighted
  double confidence = 0;     // beta times the entropies, in nats, weighted alike
  double balance = 0;        // auxiliary losses of all layers times the batch's share
  double total() const { return cross_entropy + confidence + balance; }
};

// Forward, loss and backward of a prepared batch: one more pass of `gradients`.
StepLoss train_step_loss(Model& model, PreparedBatch& prepared, Tape& tape, Gradients& gradients);

// Forward and loss alone, without gradients and without auxiliary losses: fills prepared.loss and
// returns the weighted sum.
double measure_loss(Model& model, PreparedBatch& prepared, Tape& tape);

}  // namespace unmask
