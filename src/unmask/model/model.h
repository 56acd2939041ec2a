#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "unmask/base/arena.h"
#include "unmask/kernels/attention.h"
#include "unmask/kernels/precision.h"
#include "unmask/kernels/rope.h"
#include "unmask/model/config.h"
#include "unmask/model/parameters.h"
#include "unmask/model/tape.h"
#include "unmask/routing/router.h"

namespace unmask {

// What one forward pass reads. Rows are tokens, sequences one after the other.
struct Batch {
  std::span<const int32_t> tokens;     // [N] ids, mask token where masked
  std::span<const int32_t> positions;  // [N] for RoPE
  const AttentionPattern* attention = nullptr;
  RouteContext route;
};

struct ModelOptions {
  Precision precision = Precision::f32;
  bool recompute = false;  // keep only the layers' inputs, and run each layer again in backward
};

// Configuration, parameters and one router for each layer. Neither trained nor served: both are
// done to it from outside.
class Model {
 public:
  // Refuses an impossible configuration.
  static Result<Model> create(const ModelConfig& config, ModelOptions options = {});

  const ModelConfig& config() const { return config_; }
  const ParameterLayout& layout() const { return *layout_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  ModelOptions& options() { return options_; }

  // Embedding, layers and final norm. Returns the normed hidden states [N, hidden], which live on
  // the tape with everything that `backward` needs; with Tape::Mode::inference only what the
  // caller may look at is kept.
  Matrix forward(const Batch& batch, Tape& tape);

  // From d_hidden [N, hidden] (of forward's result; overwritten) to += on every gradient,
  // auxiliary losses of the routers included, scaled by `balance_scale`.
  void backward(const Batch& batch, Tape& tape, Matrix d_hidden, float balance_scale,
                Parameters& gradients);

  // Logits of the given rows of forward's result: [rows, vocab].
  void head_forward(ConstMatrix hidden, Matrix logits);

  // Cross-entropy at the given rows only, in pieces, so that logits of few rows exist at a time:
  // sum over i of weight[i] * CE(row rows[i], targets[i]). Adds d_hidden at those rows and the
  // head's gradient when `gradients` is given. loss [rows] receives each unweighted CE.
  double head_loss(ConstMatrix hidden, std::span<const int32_t> rows,
                   std::span<const int32_t> targets, std::span<const float> weight,
                   std::span<float> loss, Matrix d_hidden, Parameters* gradients);

 private:
  Model() = default;
  ModelConfig config_;
  ModelOptions options_;
  std::unique_ptr<ParameterLayout> layout_;
  Parameters parameters_;
  std::vector<std::unique_ptr<Router>> routers_;  // [layers], null for dense layers
  RopeTable rope_;
};

}  // namespace unmask
