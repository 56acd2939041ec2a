#include "unmask/diffusion/objective.h"

#include <algorithm>

namespace unmask {
namespace {

std::span<uint8_t> take_bytes(int64_t count) {
  return {thread_scratch().take<uint8_t>(count), static_cast<size_t>(count)};
}

}  // namespace

void PreparedBatch::clear() {
  forward.clear();
  rows.clear();
  targets.clear();
  masked_begin.assign(1, 0);
}

void PreparedBatch::reserve(const BatchLayout& layout, int64_t sequences, int64_t tokens) {
  const int64_t halves = layout.doubled() ? 2 : 1;
  forward.reserve(halves * sequences, halves * tokens);
  const auto count = static_cast<size_t>(tokens);
  rows.reserve(count);
  targets.reserve(count);
  weight.reserve(count);
  loss.reserve(count);
  entropy.reserve(count);
  masked_begin.reserve(static_cast<size_t>(sequences + 1));
}

void PreparedBatch::add(const BatchLayout& layout, std::span<const int32_t> tokens,
                        std::span<const uint8_t> masked) {
  const int32_t first = forward.add(layout, tokens, masked);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!masked[i]) continue;
    rows.push_back(first + static_cast<int32_t>(i));
    targets.push_back(tokens[i]);
  }
  masked_begin.push_back(static_cast<int32_t>(rows.size()));
}

void PreparedBatch::finish(const BatchLayout& layout) {
  forward.finish(layout);
  weight.assign(rows.size(), 0.0f);
  loss.assign(rows.size(), 0.0f);
  entropy.assign(rows.size(), 0.0f);
}

Result<Objective> Objective::create(const ObjectiveOptions& options, const ModelConfig& config,
                                    uint64_t seed) {
  UNMASK_TRY_STATUS(validate(options.mask_ratio));
  const bool block = options.kind == ObjectiveOptions::Kind::block;
  if (block && options.block_size < 1) {
    return usage_error("block size {}: the block objective needs at least 1", options.block_size);
  }
  if (!(options.confidence >= 0.0f)) {
    return usage_error("confidence {}: expected a weight of 0 (off) or more", options.confidence);
  }
  if (block && options.document_mask) {
    return usage_error("the block objective has no document mask: switch one of them off");
  }
  Objective objective;
  objective.options_ = options;
  objective.seed_ = seed;
  using Attention = BatchLayout::Attention;
  objective.layout_ = {.attention = block                   ? Attention::block_diffusion
                                    : options.document_mask ? Attention::document
                                                            : Attention::full,
                       .block_size = options.block_size,
                       .mask_token = config.mask_token,
                       .end_token = config.end_token};
  return objective;
}

int32_t Objective::corrupt(const CleanBatch& clean, uint64_t step, int64_t b,
                           std::span<uint8_t> masked) const {
  const int64_t sequence = clean.first_sequence + b;
  const float t =
      draw_mask_ratio(options_.mask_ratio, seed_, step, sequence, clean.global_sequences());
  return mask_positions(t, {seed_, Purpose::mask}, step, static_cast<uint32_t>(sequence),
                        clean.prompt(b), clean.length(b), masked);
}

StepTotals Objective::totals(const CleanBatch& clean, uint64_t step) const {
  const ArenaScope scope(thread_scratch());
  const std::span<uint8_t> masked = take_bytes(clean.tokens.cols);
  StepTotals totals{clean.sequences(), 0};
  for (int64_t b = 0; b < clean.sequences(); ++b) totals.masked += corrupt(clean, step, b, masked);
  return totals;
}

void Objective::prepare(const CleanBatch& clean, uint64_t step, const StepTotals& totals,
                        PreparedBatch& prepared) const {
  prepared.clear();
  prepared.reserve(layout_, clean.sequences(), clean.tokens.size());
  const ArenaScope scope(thread_scratch());
  const std::span<uint8_t> masked = take_bytes(clean.tokens.cols);
  for (int64_t b = 0; b < clean.sequences(); ++b) {
    corrupt(clean, step, b, masked);
    prepared.add(layout_, clean.sequence(b), masked.first(clean.sequence(b).size()));
  }
  prepared.finish(layout_);

  const auto step_sequences = static_cast<double>(totals.sequences);
  for (int64_t b = 0; b < clean.sequences(); ++b) {
    double weight = 0;
    switch (options_.kind) {
      case ObjectiveOptions::Kind::elbo:
        weight = 1.0 / (static_cast<double>(prepared.masked(b)) * step_sequences);
        break;
      case ObjectiveOptions::Kind::plain:
        weight = 1.0 / (static_cast<double>(clean.length(b)) * step_sequences);
        break;
      case ObjectiveOptions::Kind::sft:
      case ObjectiveOptions::Kind::block:
        weight = 1.0 / static_cast<double>(totals.masked);
        break;
    }
    std::fill_n(prepared.weight.begin() + prepared.masked_begin[b], prepared.masked(b),
                static_cast<float>(weight));
  }
  prepared.confidence = options_.confidence;
  prepared.balance_scale =
      static_cast<float>(static_cast<double>(clean.sequences()) / step_sequences);
}

StepLoss train_step_loss(Model& model, PreparedBatch& prepared, Tape& tape, Gradients& gradients) {
  tape.mode = Tape::Mode::training;
  const Batch batch = prepared.forward.batch();
  model.forward(batch, tape);
  const Matrix d_hidden = tape.arena.matrix(tape.hidden.rows, tape.hidden.cols);
  std::fill_n(d_hidden.data, d_hidden.size(), 0.0f);
  StepLoss loss;
  if (prepared.confidence > 0) {
    const ConfidentLoss judged = model.confident_head_loss(
        tape, prepared.rows, prepared.targets, prepared.confidence, prepared.weight, prepared.loss,
        prepared.entropy, d_hidden, &gradients);
    loss.cross_entropy = judged.cross_entropy;
    loss.confidence = judged.confidence;
  } else {
    loss.cross_entropy = model.head_loss(tape, prepared.rows, prepared.targets, prepared.weight,
                                         prepared.loss, d_hidden, &gradients);
  }
  for (const Tape::Layer& layer : tape.layers) loss.balance += layer.routing.balance.total();
  loss.balance *= prepared.balance_scale;
  model.backward(batch, tape, d_hidden, prepared.balance_scale, gradients);
  return loss;
}

double measure_loss(Model& model, PreparedBatch& prepared, Tape& tape) {
  tape.mode = Tape::Mode::inference;
  model.forward(prepared.forward.batch(), tape);
  return model.head_loss(tape, prepared.rows, prepared.targets, prepared.weight, prepared.loss,
                         Matrix(), nullptr);
}

}  // namespace unmask
