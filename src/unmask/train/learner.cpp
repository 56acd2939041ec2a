#include "unmask/train/learner.h"

#include <algorithm>
#include <cmath>

#include "unmask/kernels/optimizer.h"
#include "unmask/model/divergence.h"
#include "unmask/routing/bias_update.h"
#include "unmask/routing/token_routing.h"

namespace unmask {

Result<Learner> Learner::create(const TrainConfig& config) {
  UNMASK_TRY_STATUS(check_learns(config.model.routing));
  UNMASK_TRY(Model model, Model::create(config.model, config.options));
  UNMASK_TRY(Objective objective, Objective::create(config.objective, config.model, config.seed));
  initialize(model.parameters(), config.seed);
  return Learner(config, std::move(model), objective);
}

Learner::Learner(const TrainConfig& config, Model model, const Objective& objective)
    : config_(config),
      model_(std::move(model)),
      objective_(objective),
      updated_(updated_parameters(model_.layout(), config.trainable)),
      gradients_(model_.layout()),
      first_moment_(model_.layout()),
      second_moment_(model_.layout()) {
  if (config.options.precision == Precision::bf16) model_.keep_rounded_experts();
  prepared_.reserve(objective_.layout(), config_.batch,
                    int64_t{config_.batch} * config_.data.sequence_length);
  if (config_.model.routing.balance.bias_rate > 0) {
    load_.assign(static_cast<size_t>(config_.model.layers),
                 std::vector<int64_t>(static_cast<size_t>(config_.model.experts)));
  }
}

CleanBatch Learner::micro_batch(const SequenceBatch& data, int32_t index) const {
  const int64_t batch = config_.batch, length = config_.data.sequence_length;
  const auto part = [&](const std::vector<int32_t>& of) {
    return std::span(of).subspan(static_cast<size_t>(index * batch), static_cast<size_t>(batch));
  };
  return {.tokens = {data.tokens.data() + index * batch * length, batch, length},
          .prompt_length = part(data.prompt_length),
          .real_length = part(data.real_length),
          .first_sequence = index * batch,
          .batch_sequences = config_.step_sequences()};
}

Result<StepReport> Learner::step(int64_t step, const SequenceBatch& data) {
  const auto noise_step = static_cast<uint64_t>(step);
  StepTotals totals;
  for (int32_t i = 0; i < config_.accumulation; ++i) {
    totals = totals + objective_.totals(micro_batch(data, i), noise_step);
  }

  StepReport report;
  for (auto& load : load_) std::fill(load.begin(), load.end(), 0);
  tape_.mode = Tape::Mode::training;
  gradients_.clear();
  for (int32_t i = 0; i < config_.accumulation; ++i) {
    objective_.prepare(micro_batch(data, i), noise_step, totals, prepared_);
    const StepLoss loss = train_step_loss(model_, prepared_, tape_, gradients_);
    report.loss.cross_entropy += loss.cross_entropy;
    report.loss.confidence += loss.confidence;
    report.loss.balance += loss.balance;
    for (const Tape::Layer& layer : tape_.layers) {
      const BalanceLoss& balance = layer.routing.balance;
      report.balance.switch_loss += balance.switch_loss * prepared_.balance_scale;
      report.balance.sequence_loss += balance.sequence_loss * prepared_.balance_scale;
      report.balance.z_loss += balance.z_loss * prepared_.balance_scale;
    }
    if (!std::isfinite(loss.total())) return diverged(step, "the loss");
    for (size_t i = 0; i < load_.size(); ++i) {
      const Routing& routing = tape_.layers[i].routing;
      add_chosen_load(routing.assignment, routing.decision, load_[i]);
    }
  }

  forget_fixed_gradients();
  report.gradient_norm = std::sqrt(squared_norm(gradients_.flat()));
  if (!std::isfinite(report.gradient_norm)) return diverged(step, "the gradient");
  const double scale = config_.clip > 0 && report.gradient_norm > config_.clip
                           ? config_.clip / report.gradient_norm
                           : 1.0;
  report.learning_rate = config_.learning_rate.at(step);
  update(step, report.learning_rate, static_cast<float>(scale));
  balance_loads();
  return report;
}

// The backward pass leaves gradients everywhere; of parameters that stay as they are they must not
// count towards the norm.
void Learner::forget_fixed_gradients() {
  for (size_t i = 0; i < updated_.size(); ++i) {
    if (updated_[i]) continue;
    const Matrix gradient = gradients_[static_cast<int>(i)];
    std::fill_n(gradient.data, gradient.size(), 0.0f);
  }
}

void Learner::update(int64_t step, float learning_rate, float gradient_scale) {
  for (size_t i = 0; i < updated_.size(); ++i) {
    if (!updated_[i]) continue;
    const ParameterInfo& info = model_.layout().table[i];
    const AdamW adamw = {.learning_rate = learning_rate,
                         .beta1 = config_.beta1,
                         .beta2 = config_.beta2,
                         .epsilon = config_.epsilon,
                         .weight_decay = info.decays ? config_.weight_decay : 0.0f,
                         .gradient_scale = gradient_scale,
                         .step = step};
    const auto of = [&](const Parameters& p) {
      return p.flat().subspan(static_cast<size_t>(info.offset), static_cast<size_t>(info.size()));
    };
    const View<bf16> rounded = model_.rounded_experts()[static_cast<int>(i)];
    adamw_update(adamw, of(model_.parameters()), of(gradients_), of(first_moment_),
                 of(second_moment_), rounded.flat());
  }
}

// The selection bias of every routed layer follows the loads of the step.
void Learner::balance_loads() {
  for (size_t i = 0; i < load_.size(); ++i) {
    const int index = model_.layout().layers[i].expert_bias;
    if (index < 0) continue;
    const Matrix bias = model_.parameters()[index];
    update_expert_bias(config_.model.routing.balance.bias_rate, load_[i],
                       {bias.data, static_cast<size_t>(bias.cols)});
  }
}

Error Learner::diverged(int64_t step, const char* what) {
  const auto where = first_non_finite(model_, tape_, &gradients_);
  return failure(
      "step {}: {} is no longer finite{}. Nothing of this step was applied. Try a lower "
      "optimizer.learning_rate, a longer optimizer.warmup, a smaller optimizer.clip{}",
      step, what, where ? ", first in " + where->text() : "",
      config_.options.precision == Precision::bf16 ? ", or training.precision = \"f32\"" : "");
}

}  // namespace unmask
