#include "unmask/model/model.h"

#include <algorithm>
#include <utility>

#include "unmask/kernels/elementwise.h"
#include "unmask/kernels/finite.h"
#include "unmask/kernels/norm.h"
#include "unmask/model/head.h"

namespace unmask {

namespace {

void check_attention(const Batch& batch, bool training) {
  if (batch.cached.empty()) return UNMASK_CHECK(batch.attention != nullptr);
  UNMASK_CHECK(!training);
  int32_t row = 0;
  for (const CachedRows& rows : batch.cached) {
    UNMASK_CHECK(rows.row_begin == row && rows.row_begin < rows.row_end);
    row = rows.row_end;
    UNMASK_CHECK(rows.first >= rows.cache->length());
    UNMASK_CHECK(rows.row_end - rows.row_begin <= rows.cache->capacity() - rows.first);
  }
  UNMASK_CHECK(row == batch.size());
}

}  // namespace

Result<Model> Model::create(const ModelConfig& config, ModelOptions options) {
  UNMASK_TRY(Model model, without_weights(config, options));
  model.parameters_ = Parameters(*model.layout_);
  model.weights_ = weights_of(model.parameters_, model.rounded_);
  return model;
}

Result<Model> Model::from_weights(const ModelConfig& config, ModelOptions options,
                                  ModelWeights weights, std::shared_ptr<const WeightStore> store) {
  UNMASK_TRY(Model model, without_weights(config, options));
  UNMASK_CHECK(std::ssize(weights.layers) == config.layers);
  model.weights_ = std::move(weights);
  model.store_ = std::move(store);
  return model;
}

Result<Model> Model::without_weights(const ModelConfig& config, ModelOptions options) {
  UNMASK_TRY_STATUS(validate(config));
  Model model;
  model.config_ = config;
  model.options_ = options;
  model.layout_ = std::make_unique<ParameterLayout>(config);
  for (int32_t i = 0; i < config.layers; ++i) {
    if (config.is_dense(i)) {
      model.routers_.push_back(nullptr);
    } else {
      UNMASK_TRY(auto router, make_router(config));
      model.routers_.push_back(std::move(router));
    }
  }
  model.rope_ = RopeTable(config.max_positions, config.rope_dims(), config.rope_theta);
  return model;
}

void Model::keep_rounded_experts() {
  rounded_ = RoundedExperts(parameters_);
  weights_ = weights_of(parameters_, rounded_);
}

int64_t Model::max_slots(std::span<const int32_t> sequence_begin) const {
  if (config_.is_dense(config_.layers - 1)) return 0;
  int64_t slots = 0;
  for (size_t b = 0; b + 1 < sequence_begin.size(); ++b) {
    const int64_t length = sequence_begin[b + 1] - sequence_begin[b];
    slots += routers_.back()->max_slots(length, length);
  }
  return slots;
}

void Model::layer_forward(const LayerContext& context, int32_t index, Tape::Layer& layer,
                          ConstMatrix x, Matrix y, Matrix work, Arena* keep, Router* router) {
  const auto& [attention, moe] = weights_.layers[index];

  const Matrix middle = keep ? keep->matrix(x.rows, x.cols) : y;
  attention_layer_forward(context, index, attention, x, middle, keep ? *keep : context.scratch,
                          layer.attention);
  if (keep) copy(middle, y);

  layer.middle = middle;
  layer.moe.inv_rms = keep ? keep->matrix(x.rows, 1) : Matrix();
  rms_norm_forward(middle, moe.norm, context.config.norm_epsilon, work, layer.moe.inv_rms);
  if (router) moe_layer_route(context, moe, *router, work, layer.routing);
  moe_layer_compute(context, moe, work, layer.routing.assignment, y, keep, layer.moe);
}

Matrix Model::forward(const Batch& batch, Tape& tape) {
  const int64_t n = batch.size();
  const bool training = tape.mode == Tape::Mode::training;
  UNMASK_CHECK(n > 0 && std::ssize(batch.positions) == n);
  check_attention(batch, training);
  UNMASK_CHECK(batch.route.sequences() > 0 && batch.route.sequence_begin.back() == n);
  UNMASK_CHECK(std::ranges::max(batch.positions) < rope_.positions());
  UNMASK_CHECK(std::ranges::min(batch.tokens) >= 0);
  UNMASK_CHECK(std::ranges::max(batch.tokens) < config_.vocab_size);

  const ProfileScope time(tape.profile.total);
  const int64_t slots = max_slots(batch.route.sequence_begin);
  const TapePlan plan = plan_tape(config_, options_, tape.mode, n, slots);
  tape.reset();
  tape.arena.reserve(plan.arena);
  tape.scratch.reserve(plan.scratch);
  tape.layers.resize(static_cast<size_t>(config_.layers));
  const LayerContext shared = context(batch, tape);

  // The result's memory is free until the end: work memory of the layers.
  tape.hidden = tape.arena.matrix(n, config_.hidden);
  Matrix x = tape.arena.matrix(n, config_.hidden);
  Matrix spare = training ? Matrix() : tape.arena.matrix(n, config_.hidden);
  embed(weights_.embedding, batch.tokens, x);
  for (int32_t i = 0; i < config_.layers; ++i) {
    Tape::Layer& layer = tape.layers[i];
    Router* const router = routers_[i].get();
    if (router) {
      layer.routing.logits = tape.arena.matrix(n, config_.experts);
      layer.routing.assignment.reserve(config_.experts, static_cast<int32_t>(n), slots);
    }
    const Matrix y = training ? tape.arena.matrix(n, config_.hidden) : spare;
    const ArenaScope scope(tape.scratch);
    layer_forward(shared, i, layer, x, y, tape.hidden,
                  training && !options_.recompute ? &tape.arena : nullptr, router);
    layer.input = x;
    spare = x;
    x = y;
  }
  tape.output = x;
  tape.final_inv_rms = tape.arena.matrix(n, 1);
  rms_norm_forward(x, weights_.final_norm, config_.norm_epsilon, tape.hidden, tape.final_inv_rms);
  return tape.hidden;
}

Status Model::check_pass(const Tape& tape) const {
  if (store_) UNMASK_TRY_STATUS(store_->intact());
  return check_finite(tape.hidden.flat());
}

Status check_finite(std::span<const float> values) {
  if (all_finite(values)) return {};
  return failure(
      "the model gives values that are not finite: its weights are damaged, or training diverged; "
      "try an earlier checkpoint");
}

void Model::backward(const Batch& batch, Tape& tape, Matrix d_hidden, float balance_scale,
                     Gradients& gradients) {
  UNMASK_CHECK(tape.mode == Tape::Mode::training && d_hidden.rows == batch.size());
  UNMASK_CHECK(!parameters_.empty());
  const ProfileScope time(tape.profile.total);
  const LayerContext shared = context(batch, tape);
  const ArenaScope scope(tape.scratch);

  // One gradient of the residual stream, turned from that of a layer's output into that of its
  // input; d_hidden is done with after the final norm, and becomes work memory.
  const Matrix d_x = tape.scratch.matrix(d_hidden.rows, d_hidden.cols);
  fill(0.0f, d_x);
  rms_norm_backward(tape.output, parameters_[layout_->final_norm], tape.final_inv_rms, d_hidden,
                    d_x, gradients[layout_->final_norm]);
  const Matrix work = d_hidden;
  const bool add = gradients.add_pass();
  for (int32_t i = config_.layers - 1; i >= 0; --i) {
    Tape::Layer& layer = tape.layers[i];
    const ArenaScope layer_scope(tape.scratch);
    if (options_.recompute) {
      // Its output is computed once more into where it stands already.
      const Matrix y = i + 1 < config_.layers ? tape.layers[i + 1].input : tape.output;
      layer_forward(shared, i, layer, layer.input, y, work, &tape.scratch, nullptr);
    }
    moe_layer_backward(shared, weights_.layers[i].moe, routers_[i].get(), layer.middle,
                       layer.routing, layer.moe, balance_scale, d_x, work,
                       moe_gradients(gradients, i, add));
    attention_layer_backward(shared, attention_parameters(parameters_, i), layer.input,
                             layer.attention, d_x, work, attention_parameters(gradients, i));
  }
  embedding_backward(batch.tokens, d_x, gradients[layout_->embedding]);
}

Result<Matrix> Model::logits(Tape& tape, std::span<const int32_t> rows) {
  UNMASK_TRY_STATUS(check_pass(tape));
  const Matrix logits = tape.arena.matrix(std::ssize(rows), config_.vocab_size);
  head_forward(tape, rows, logits);
  UNMASK_TRY_STATUS(check_finite(logits.flat()));
  return logits;
}

void Model::head_forward(Tape& tape, std::span<const int32_t> rows, Matrix logits) {
  const ProfileScope total(tape.profile.total), time(tape.profile.head);
  unmask::head_forward(tape.hidden, rows, weights_.head, logits, tape.scratch, options_.precision);
}

double Model::head_loss(Tape& tape, std::span<const int32_t> rows, std::span<const int32_t> targets,
                        std::span<const float> weight, std::span<float> loss, Matrix d_hidden,
                        Parameters* gradients) {
  const ProfileScope total(tape.profile.total), time(tape.profile.head);
  const Matrix d_head = gradients ? (*gradients)[layout_->head] : Matrix();
  return unmask::head_loss(tape.hidden, rows, targets, weight, weights_.head, loss, d_hidden,
                           d_head, tape.scratch, options_.precision);
}

ConfidentLoss Model::confident_head_loss(Tape& tape, std::span<const int32_t> rows,
                                         std::span<const int32_t> targets, float beta,
                                         std::span<const float> weight, std::span<float> loss,
                                         std::span<float> entropy, Matrix d_hidden,
                                         Parameters* gradients) {
  const ProfileScope total(tape.profile.total), time(tape.profile.head);
  const Matrix d_head = gradients ? (*gradients)[layout_->head] : Matrix();
  return unmask::confident_head_loss(tape.hidden, rows, targets, beta, weight, weights_.head, loss,
                                     entropy, d_hidden, d_head, tape.scratch, options_.precision);
}

}  // namespace unmask
