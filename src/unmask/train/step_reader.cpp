#include "unmask/train/step_reader.h"

#include <algorithm>

namespace unmask {
namespace {

template <class Data, class Read>
Status fill(int64_t count, int32_t length, Data& data, Read read) {
  data.tokens.resize(static_cast<size_t>(count * length));
  data.prompt_length.resize(static_cast<size_t>(count));
  data.real_length.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const auto out = std::span(data.tokens)
                         .subspan(static_cast<size_t>(i * length), static_cast<size_t>(length));
    UNMASK_TRY(const SequenceBounds bounds, read(i, out));
    data.prompt_length[i] = bounds.prompt;
    data.real_length[i] = bounds.length;
  }
  return {};
}

}  // namespace

Status read_step(const TrainingSequences& sequences, int64_t position, int64_t count,
                 StepData& data) {
  return fill(count, sequences.length(), data, [&](int64_t i, std::span<int32_t> out) {
    return sequences.train(position + i, out);
  });
}

Status read_validation(const TrainingSequences& sequences, int64_t count, EvaluationData& data) {
  count = std::min(count, sequences.validation_count());
  data.sequence_length = sequences.length();
  return fill(count, sequences.length(), data,
              [&](int64_t i, std::span<int32_t> out) { return sequences.validation(i, out); });
}

}  // namespace unmask
