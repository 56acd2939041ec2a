#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/diffusion/objective.h"
#include "unmask/model/model.h"
#include "unmask/text/sequences.h"
#include "unmask/train/config.h"

namespace unmask {

struct StepReport {
  StepLoss loss;
  BalanceLoss balance;  // of all layers, as it enters the loss
  double gradient_norm = 0;
  float learning_rate = 0;
};

// A model with its gradients and moments, and the step that changes them. Knows nothing of files.
class Learner {
 public:
  static Result<Learner> create(const TrainConfig& config);

  // Forward, backward and update for step `step`, counted from 1, on its clean sequences,
  // micro-batches one after the other. Fails when the loss or a gradient is not finite, naming
  // where it began; parameters and moments are then untouched.
  Result<StepReport> step(int64_t step, const SequenceBatch& data);

  Model& model() { return model_; }
  const Objective& objective() const { return objective_; }
  Tape& tape() { return tape_; }
  Parameters& first_moment() { return first_moment_; }
  Parameters& second_moment() { return second_moment_; }
  const PreparedBatch& last_batch() const { return prepared_; }  // the last micro-batch

 private:
  Learner(const TrainConfig& config, Model model, const Objective& objective);
  CleanBatch micro_batch(const SequenceBatch& data, int32_t index) const;
  void forget_fixed_gradients();
  void update(int64_t step, float learning_rate, float gradient_scale);
  void balance_loads();
  Error diverged(int64_t step, const char* what);

  TrainConfig config_;
  Model model_;
  Objective objective_;
  std::vector<uint8_t> updated_;  // for each parameter
  Gradients gradients_;           // of the last step
  Parameters first_moment_;
  Parameters second_moment_;
  Tape tape_;
  PreparedBatch prepared_;
  // [layers][experts] choices of the step so far, where loss-free balancing is on (bias_update.h).
  std::vector<std::vector<int64_t>> load_;
};

}  // namespace unmask
