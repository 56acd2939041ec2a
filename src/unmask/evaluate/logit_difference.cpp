#include "unmask/evaluate/logit_difference.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "unmask/evaluate/loss.h"

namespace unmask {
namespace {

constexpr float kMaskProbability = 0.5f;

Result<Matrix> masked_logits(Model& model, const PreparedBatch& prepared, Tape& tape) {
  tape.mode = Tape::Mode::inference;
  model.forward(prepared.forward.batch(), tape);
  return model.logits(tape, prepared.rows);
}

int64_t argmax(const float* row, int64_t count, int32_t left_out) {
  int64_t best = left_out == 0 ? 1 : 0;
  for (int64_t v = best; v < count; ++v) {
    if (v != left_out && row[v] > row[best]) best = v;
  }
  return best;
}

double mean(const float* row, int64_t count) {
  return std::accumulate(row, row + count, 0.0) / static_cast<double>(count);
}

}  // namespace

Result<LogitDifference> compare_logits(Model& model, Model& reference, const CleanBatch& sequences,
                                       uint64_t seed) {
  const ModelConfig& config = model.config();
  const ModelConfig& other = reference.config();
  if (config.vocab_size != other.vocab_size || config.mask_token != other.mask_token ||
      config.attention_block != other.attention_block) {
    return usage_error(
        "models to compare: expected the same vocabulary, mask token and attention; found {} and "
        "{} tokens, masks {} and {}, attention blocks {} and {}",
        config.vocab_size, other.vocab_size, config.mask_token, other.mask_token,
        config.attention_block, other.attention_block);
  }
  const int32_t positions = std::min(config.max_positions, other.max_positions);
  if (sequences.tokens.cols > positions) {
    return usage_error(
        "sequences of {} tokens: the models have {} positions, give a shorter length",
        sequences.tokens.cols, positions);
  }
  const BatchLayout layout = evaluation_layout(config);
  Tape tape, reference_tape;
  PreparedBatch prepared;
  std::vector<uint8_t> masked;
  LogitDifference result;
  double squares = 0, reference_squares = 0;
  int64_t same = 0;
  for (int64_t b = 0; b < sequences.sequences(); ++b) {
    masked.resize(static_cast<size_t>(sequences.length(b)));
    mask_positions(kMaskProbability, {seed, Purpose::validation}, static_cast<uint64_t>(b), 0,
                   sequences.prompt(b), sequences.length(b), masked);
    prepared.clear();
    prepared.add(layout, sequences.sequence(b), masked);
    prepared.finish(layout);
    UNMASK_TRY(const Matrix logits, masked_logits(model, prepared, tape));
    UNMASK_TRY(const Matrix expected, masked_logits(reference, prepared, reference_tape));
    for (int64_t r = 0; r < logits.rows; ++r) {
      const float* const row = logits.row(r);
      const float* const expected_row = expected.row(r);
      const double centre = mean(row, logits.cols);
      const double expected_centre = mean(expected_row, logits.cols);
      for (int64_t v = 0; v < logits.cols; ++v) {
        const double value = static_cast<double>(expected_row[v]) - expected_centre;
        const double difference = static_cast<double>(row[v]) - centre - value;
        reference_squares += value * value;
        squares += difference * difference;
        result.largest = std::max(result.largest, std::abs(difference));
      }
      same += argmax(row, logits.cols, config.mask_token) ==
              argmax(expected_row, logits.cols, config.mask_token);
    }
    result.rows += logits.rows;
  }
  const auto values = static_cast<double>(result.rows) * config.vocab_size;
  result.reference_rms = std::sqrt(reference_squares / values);
  result.rms = std::sqrt(squares / values);
  result.same_argmax = static_cast<double>(same) / static_cast<double>(result.rows);
  return result;
}

}  // namespace unmask
