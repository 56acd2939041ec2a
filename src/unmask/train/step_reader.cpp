#include "unmask/train/step_reader.h"

#include <algorithm>

namespace unmask {

Status read_step(const TrainingSequences& sequences, int64_t position, int64_t count,
                 SequenceBatch& batch) {
  return batch.fill(count, sequences.length(), [&](int64_t i, std::span<int32_t> out) {
    return sequences.train(position + i, out);
  });
}

Status read_validation(const TrainingSequences& sequences, int64_t count, SequenceBatch& batch) {
  return batch.fill(
      std::min(count, sequences.validation_count()), sequences.length(),
      [&](int64_t i, std::span<int32_t> out) { return sequences.validation(i, out); });
}

}  // namespace unmask
