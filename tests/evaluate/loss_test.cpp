#include "unmask/evaluate/loss.h"

#include "tests/diffusion/tiny_model.h"
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

namespace unmask {
namespace {

// Sequence i holds i everywhere, with a prompt of i tokens and i of padding.
class CountedSequences : public SequenceSource {
 public:
  CountedSequences(int64_t count, int32_t length) : count_(count), length_(length) {}
  int64_t count() const override { return count_; }
  int32_t length() const override { return length_; }
  Result<SequenceBounds> read(int64_t index, std::span<int32_t> out) const override {
    std::fill(out.begin(), out.end(), static_cast<int32_t>(index));
    const auto i = static_cast<int32_t>(index % 3);
    return SequenceBounds{i, length_ - i};
  }

 private:
  int64_t count_;
  int32_t length_;
};

TEST(ReadEvaluationData, TakesSequencesEvenlySpaced) {
  const CountedSequences source(10, 6);
  const SequenceBatch data = *read_evaluation_data(source, 4);
  ASSERT_EQ(data.sequences(), 4);
  const CleanBatch batch = clean_batch(data);
  EXPECT_EQ(batch.tokens(0, 0), 0);
  EXPECT_EQ(batch.tokens(1, 0), 2);
  EXPECT_EQ(batch.tokens(2, 5), 5);
  EXPECT_EQ(batch.tokens(3, 0), 7);
  EXPECT_EQ(batch.prompt(1), 2);
  EXPECT_EQ(batch.length(1), 4);
  EXPECT_EQ(read_evaluation_data(source, 0)->sequences(), 10);
  EXPECT_EQ(read_evaluation_data(source, 99)->sequences(), 10);
  EXPECT_FALSE(read_evaluation_data(CountedSequences(0, 6), 4).ok());
}

TEST(EvaluateLoss, MeasuresBothWays) {
  const SequenceBatch data = *read_evaluation_data(CountedSequences(9, 12), 0);
  Model model = uniform_model();
  Tape tape;
  const Evaluation evaluation =
      *evaluate_loss(model, clean_batch(data), {.draws = 3, .levels = {0.2f, 0.8f}}, tape);
  EXPECT_EQ(evaluation.sequences, 9);
  EXPECT_GT(evaluation.seconds, 0);
  EXPECT_EQ(evaluation.stratified.all.count, 27);
  EXPECT_NEAR(evaluation.stratified.perplexity(), kTinyVocab, 1e-4);
  ASSERT_TRUE(evaluation.levels.has_value());
  EXPECT_EQ(evaluation.levels->level_loss.size(), 2u);
  EXPECT_NEAR(evaluation.levels->loss(), std::log(kTinyVocab), 1e-6);
}

TEST(EvaluateLoss, DamagedWeightsAreAFailure) {
  Model model = uniform_model();
  model.parameters()[model.layout().head](5, 0) = std::nanf("");  // hidden states are finite
  Tape tape;
  const SequenceBatch data = *read_evaluation_data(CountedSequences(2, 12), 0);
  const auto result = evaluate_loss(model, clean_batch(data), {}, tape);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind, Error::Kind::failure);
}

TEST(EvaluateLoss, BlockCausalModelsAreMeasuredAsTheyDecode) {
  ModelConfig config = tiny_config();
  EXPECT_EQ(evaluation_layout(config).attention, BatchLayout::Attention::full);
  config.attention_block = 4;
  const BatchLayout layout = evaluation_layout(config);
  EXPECT_EQ(layout.attention, BatchLayout::Attention::block_diffusion);
  EXPECT_EQ(layout.block_size, 4);
}

TEST(EvaluateLoss, BadOptionsAreUsageErrors) {
  Model model = uniform_model();
  Tape tape;
  const SequenceBatch data = *read_evaluation_data(CountedSequences(2, 12), 0);
  EXPECT_FALSE(evaluate_loss(model, clean_batch(data), {.levels = {1.5f}}, tape).ok());
  EXPECT_FALSE(evaluate_loss(model, clean_batch(data), {.draws = 0}, tape).ok());
  EXPECT_FALSE(evaluate_loss(model, clean_batch(data), {.batch_sequences = 0}, tape).ok());
  const SequenceBatch wide = *read_evaluation_data(CountedSequences(2, 65), 0);
  const auto refused = evaluate_loss(model, clean_batch(wide), {}, tape);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, Error::Kind::usage);
}

}  // namespace
}  // namespace unmask
