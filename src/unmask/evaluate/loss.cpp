#include "unmask/evaluate/loss.h"

#include <algorithm>

#include "unmask/base/clock.h"

namespace unmask {

CleanBatch clean_batch(const SequenceBatch& sequences) {
  CleanBatch batch;
  batch.tokens = {sequences.tokens.data(), sequences.sequences(), sequences.length};
  batch.prompt_length = sequences.prompt_length;
  batch.real_length = sequences.real_length;
  return batch;
}

Result<SequenceBatch> read_evaluation_data(const SequenceSource& source, int64_t limit) {
  const int64_t count = limit > 0 ? std::min(limit, source.count()) : source.count();
  if (count == 0) {
    return failure(
        "the data is shorter than one sequence of {} tokens: give more of it, or a "
        "shorter sequence length",
        source.length());
  }
  SequenceBatch data;
  UNMASK_TRY_STATUS(data.fill(count, source.length(), [&](int64_t i, std::span<int32_t> out) {
    return source.read(i * source.count() / count, out);
  }));
  return data;
}

BatchLayout evaluation_layout(const ModelConfig& config) {
  BatchLayout layout = decoding_layout(config);
  if (layout.attention == BatchLayout::Attention::block_causal) {
    layout.attention = BatchLayout::Attention::block_diffusion;
  }
  return layout;
}

Result<Evaluation> evaluate_loss(Model& model, const CleanBatch& sequences,
                                 const EvaluateOptions& options, Tape& tape) {
  const ModelConfig& config = model.config();
  for (const float level : options.levels) {
    if (!(level >= 0.0f && level <= 1.0f)) {
      return usage_error("mask level {}: expected a probability from 0 to 1", level);
    }
  }
  if (options.draws < 1 || options.batch_sequences < 1) {
    return usage_error("draws {} and batch {}: expected at least 1 of each", options.draws,
                       options.batch_sequences);
  }
  if (sequences.tokens.cols > config.max_positions) {
    return usage_error("sequences of {} tokens: the model has {} positions, give a shorter length",
                       sequences.tokens.cols, config.max_positions);
  }
  const BatchLayout layout = evaluation_layout(config);
  Evaluation evaluation;
  evaluation.sequences = sequences.sequences();
  const double begin = seconds_now();
  ValidationOptions validation{.levels = {},
                               .draws = options.draws,
                               .batch_sequences = options.batch_sequences,
                               .seed = options.seed,
                               .cancel = options.cancel};
  evaluation.stratified = validation_loss(model, layout, sequences, validation, tape);
  if (!options.levels.empty()) {
    validation.levels = options.levels;
    evaluation.levels = validation_loss(model, layout, sequences, validation, tape);
  }
  UNMASK_TRY_STATUS(model.check_pass(tape));
  if (const MeanLoss& all = evaluation.stratified.all; all.count > 0) {
    const auto loss = static_cast<float>(all.mean());
    UNMASK_TRY_STATUS(check_finite({&loss, 1}));
  }
  evaluation.seconds = seconds_now() - begin;
  return evaluation;
}

}  // namespace unmask
