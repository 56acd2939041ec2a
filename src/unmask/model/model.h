#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "unmask/base/check.h"
#include "unmask/kernels/rope.h"
#include "unmask/model/batch.h"
#include "unmask/model/config.h"
#include "unmask/model/gradients.h"
#include "unmask/model/head.h"
#include "unmask/model/layer_context.h"
#include "unmask/model/parameters.h"
#include "unmask/model/rounded_experts.h"
#include "unmask/model/tape.h"
#include "unmask/model/tape_plan.h"
#include "unmask/model/weights.h"
#include "unmask/routing/router.h"

namespace unmask {

// Configuration, parameters and one router for each layer. Neither trained nor served: both are
// done to it from outside.
class Model {
 public:
  // Refuses an impossible configuration. Parameters are zero: initialise or load them.
  static Result<Model> create(const ModelConfig& config, ModelOptions options = {});
  // Forward only, from weights that lie elsewhere, packed or not; `store` keeps them there.
  // Parameters are absent: empty().
  static Result<Model> from_weights(const ModelConfig& config, ModelOptions options,
                                    ModelWeights weights, std::shared_ptr<const WeightStore> store);

  const ModelConfig& config() const { return config_; }
  const ParameterLayout& layout() const { return *layout_; }
  // Puts into a routed layer what `make` makes of its router.
  void change_router(int32_t layer,
                     const std::function<std::unique_ptr<Router>(std::unique_ptr<Router>)>& make) {
    UNMASK_CHECK(routers_[layer] != nullptr);
    routers_[layer] = make(std::move(routers_[layer]));
  }
  // Whoever changes them calls round_experts.
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  // From here on experts in bf16 are computed from a copy that is bf16 already; results are the
  // same.
  void keep_rounded_experts();
  void round_experts() { rounded_.round(parameters_); }
  const RoundedExperts& rounded_experts() const { return rounded_; }
  ModelOptions& options() { return options_; }
  const ModelOptions& options() const { return options_; }
  const ModelWeights& weights() const { return weights_; }

  // Embedding, layers and final norm. Returns tape.hidden, the normed hidden states [N, hidden],
  // which live on the tape with everything that `backward` needs; with Tape::Mode::inference only
  // what the caller may look at is kept.
  Matrix forward(const Batch& batch, Tape& tape);

  // Whether that pass can be believed: the weights lay still (WeightStore), and it is finite.
  Status check_pass(const Tape& tape) const;

  // From d_hidden [N, hidden] (of forward's result; overwritten; tape.arena has room for it) to
  // one more pass of `gradients`, auxiliary losses of the routers included, scaled by
  // `balance_scale`.
  void backward(const Batch& batch, Tape& tape, Matrix d_hidden, float balance_scale,
                Gradients& gradients);

  // Logits of the given rows of tape.hidden: [rows, vocab], on the tape's arena. Fails where the
  // pass, or they, cannot be believed.
  Result<Matrix> logits(Tape& tape, std::span<const int32_t> rows);
  // The same, whatever they are.
  void head_forward(Tape& tape, std::span<const int32_t> rows, Matrix logits);

  // Cross-entropy at the given rows of tape.hidden only, in pieces, so that logits of few rows
  // exist at a time: sum over i of weight[i] * CE(row rows[i], targets[i]). loss [rows] receives
  // each unweighted CE. With `gradients` adds to d_hidden [N, hidden] at those rows (each at most
  // once) and to the head's gradient.
  double head_loss(Tape& tape, std::span<const int32_t> rows, std::span<const int32_t> targets,
                   std::span<const float> weight, std::span<float> loss, Matrix d_hidden,
                   Parameters* gradients);

  // The same with the confidence term (head.h): entropy [rows] receives that of the predictions
  // that are right, 0 for the others.
  ConfidentLoss confident_head_loss(Tape& tape, std::span<const int32_t> rows,
                                    std::span<const int32_t> targets, float beta,
                                    std::span<const float> weight, std::span<float> loss,
                                    std::span<float> entropy, Matrix d_hidden,
                                    Parameters* gradients);

  // The most slots that any layer of a forward pass over these sequences may have.
  int64_t max_slots(std::span<const int32_t> sequence_begin) const;

 private:
  Model() = default;
  static Result<Model> without_weights(const ModelConfig& config, ModelOptions options);
  // Layer `index` from x to y, through `work`, all [N, hidden]. What backward needs is taken from
  // `keep` when given. With `route` false the layer's assignment is used as it stands.
  void layer_forward(const LayerContext& context, int32_t index, Tape::Layer& layer, ConstMatrix x,
                     Matrix y, Matrix work, Arena* keep, Router* router);
  LayerContext context(const Batch& batch, Tape& tape) const {
    return {config_,      rope_,       batch, options_.precision, tape.mode == Tape::Mode::training,
            tape.scratch, tape.profile};
  }

  ModelConfig config_;
  ModelOptions options_;
  std::unique_ptr<ParameterLayout> layout_;
  Parameters parameters_;
  RoundedExperts rounded_;
  ModelWeights weights_;  // of the parameters, or of the store
  std::shared_ptr<const WeightStore> store_;
  std::vector<std::unique_ptr<Router>> routers_;  // [layers], null for dense layers
  RopeTable rope_;
};

// Of what a model computed: hidden states, logits, losses.
Status check_finite(std::span<const float> values);

}  // namespace unmask
