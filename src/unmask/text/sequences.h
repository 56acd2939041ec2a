#pragma once

#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/text/token_stream.h"

namespace unmask {

// What is where in one sequence of S tokens.
struct SequenceBounds {
  int32_t prompt = 0;  // positions [0, prompt) are given, never masked; 0 in pre-training
  int32_t length = 0;  // positions [length, S) are padding after the first end token; S without
};

// Sequences in memory.
struct SequenceBatch {
  std::vector<int32_t> tokens;         // [sequences, S]
  std::vector<int32_t> prompt_length;  // [sequences]
  std::vector<int32_t> real_length;    // [sequences]
  int32_t length = 0;                  // S

  int64_t sequences() const { return std::ssize(prompt_length); }
  int64_t tokens_without_padding() const {
    return std::accumulate(real_length.begin(), real_length.end(), int64_t{0});
  }

  // Becomes `count` sequences of `tokens_each` tokens: read(i, out) fills the i-th and returns its
  // Result<SequenceBounds>. Keeps capacity.
  template <class Read>
  Status fill(int64_t count, int32_t tokens_each, Read read) {
    length = tokens_each;
    tokens.resize(static_cast<size_t>(count * length));
    prompt_length.resize(static_cast<size_t>(count));
    real_length.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      const auto out =
          std::span(tokens).subspan(static_cast<size_t>(i * length), static_cast<size_t>(length));
      UNMASK_TRY(const SequenceBounds bounds, read(i, out));
      prompt_length[i] = bounds.prompt;
      real_length[i] = bounds.length;
    }
    return {};
  }
};

// Sequences of a fixed length by index.
class SequenceSource {
 public:
  virtual ~SequenceSource() = default;
  virtual int64_t count() const = 0;
  virtual int32_t length() const = 0;
  // Fills out [length()]; 0 <= index < count(). Fails on ids outside the vocabulary. Thread-safe.
  virtual Result<SequenceBounds> read(int64_t index, std::span<int32_t> out) const = 0;
};

// A stream of joined documents cut without overlap; what is left at its end is not used.
std::unique_ptr<SequenceSource> cut_sequences(std::unique_ptr<TokenStream> stream, int32_t length);

// The source split and ordered: the last `validation_fraction` of the sequences is held out, the
// others come in a new seeded order each epoch. The orders need no memory.
class TrainingSequences {
 public:
  struct Options {
    double validation_fraction = 0.02;  // in [0, 1); above 0, at least one sequence is held out
    uint64_t seed = 0;
  };
  // Fails when nothing is left to train on.
  static Result<TrainingSequences> create(std::unique_ptr<SequenceSource> source, Options options);

  int32_t length() const { return source_->length(); }
  int64_t train_count() const { return train_count_; }
  int64_t validation_count() const { return source_->count() - train_count_; }

  // The sequence at a position of the unending training data, position >= 0. A run resumes by
  // going on at the position it had reached; epoch = position / train_count().
  Result<SequenceBounds> train(int64_t position, std::span<int32_t> out) const;
  // 0 <= index < validation_count(), in the order of the corpus.
  Result<SequenceBounds> validation(int64_t index, std::span<int32_t> out) const;
  // A number that another corpus, tokenizer or length would hardly have: of the count and of some
  // of the sequences. Never 0.
  Result<uint64_t> fingerprint() const;
  // Which sequence of the source a training position is.
  int64_t source_index(int64_t position) const;

 private:
  std::unique_ptr<SequenceSource> source_;
  int64_t train_count_ = 0;
  uint64_t seed_ = 0;
};

}  // namespace unmask
