#include "unmask/text/sequences.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "unmask/base/random.h"
#include "unmask/text/permutation.h"

namespace unmask {
namespace {

class CutSequences final : public SequenceSource {
 public:
  CutSequences(std::unique_ptr<TokenStream> stream, int32_t length)
      : stream_(std::move(stream)), length_(length) {
    UNMASK_CHECK(length > 0);
  }
  int64_t count() const override { return stream_->size() / length_; }
  int32_t length() const override { return length_; }
  Result<SequenceBounds> read(int64_t index, std::span<int32_t> out) const override {
    UNMASK_CHECK(std::ssize(out) == length_);
    UNMASK_TRY_STATUS(stream_->read(index * length_, out));
    return SequenceBounds{0, length_};
  }

 private:
  std::unique_ptr<TokenStream> stream_;
  int32_t length_;
};

}  // namespace

std::unique_ptr<SequenceSource> cut_sequences(std::unique_ptr<TokenStream> stream, int32_t length) {
  return std::make_unique<CutSequences>(std::move(stream), length);
}

Result<TrainingSequences> TrainingSequences::create(std::unique_ptr<SequenceSource> source,
                                                    Options options) {
  const double fraction = options.validation_fraction;
  if (!(fraction >= 0.0 && fraction < 1.0)) {
    return usage_error("validation fraction: expected a number in [0, 1), found {}", fraction);
  }
  const int64_t count = source->count();
  const auto held_out = static_cast<int64_t>(std::ceil(fraction * static_cast<double>(count)));
  if (count - held_out < 1) {
    return failure(
        "the data gives {} sequences of {} tokens and {} are held out: nothing is left "
        "to train on; use more text or shorter sequences",
        count, source->length(), held_out);
  }
  TrainingSequences result;
  result.source_ = std::move(source);
  result.train_count_ = count - held_out;
  result.seed_ = options.seed;
  return result;
}

Result<uint64_t> TrainingSequences::fingerprint() const {
  constexpr int64_t kRead = 64;
  constexpr uint64_t kPrime = 0x100000001b3;  // FNV-1a, of words
  const int64_t count = source_->count(), step = std::max<int64_t>(1, count / kRead);
  uint64_t hash = 0xcbf29ce484222325 ^ static_cast<uint64_t>(count);
  std::vector<int32_t> tokens(static_cast<size_t>(length()));
  for (int64_t i = 0; i < count; i += step) {
    UNMASK_TRY_STATUS(source_->read(i, tokens));
    for (const int32_t token : tokens) hash = (hash ^ static_cast<uint32_t>(token)) * kPrime;
  }
  return std::max<uint64_t>(hash, 1);
}

int64_t TrainingSequences::source_index(int64_t position) const {
  UNMASK_CHECK(position >= 0);
  const auto epoch = static_cast<uint32_t>(position / train_count_);
  return Permutation(train_count_, {seed_, Purpose::shuffle}, epoch)(position % train_count_);
}

Result<SequenceBounds> TrainingSequences::train(int64_t position, std::span<int32_t> out) const {
  return source_->read(source_index(position), out);
}

Result<SequenceBounds> TrainingSequences::validation(int64_t index, std::span<int32_t> out) const {
  UNMASK_CHECK(index >= 0 && index < validation_count());
  return source_->read(train_count_ + index, out);
}

}  // namespace unmask
