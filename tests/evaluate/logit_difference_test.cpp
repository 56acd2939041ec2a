#include "unmask/evaluate/logit_difference.h"

#include "tests/diffusion/tiny_model.h"
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/evaluate/loss.h"

namespace unmask {
namespace {

// Two sequences of 12 tokens.
struct Sequences {
  SequenceBatch data;
  Sequences() {
    UNMASK_CHECK(data.fill(2, 12,
                           [](int64_t i, std::span<int32_t> out) {
                             std::fill(out.begin(), out.end(), static_cast<int32_t>(i));
                             return Result<SequenceBounds>(SequenceBounds{0, 12});
                           })
                     .ok());
  }
};

std::vector<float> logits_with(float first, float second) {
  std::vector<float> logits(kTinyVocab, 0.0f);
  logits[3] = first;
  logits[4] = second;
  return logits;
}

TEST(LogitDifference, IsThatOfRowsWithoutTheirMeans) {
  const Sequences sequences;
  Model model = constant_model(logits_with(3.0f, 2.0f));
  Model reference = constant_model(logits_with(2.0f, 2.5f));
  const auto d = compare_logits(model, reference, clean_batch(sequences.data), 1);
  ASSERT_TRUE(d.ok()) << d.error().message;
  EXPECT_GT(d->rows, 4);
  EXPECT_EQ(d->same_argmax, 0.0);
  // Differences 1 and -0.5 of 19, mean 0.5 / 19.
  const double mean = 0.5 / kTinyVocab;
  EXPECT_NEAR(d->largest, 1.0 - mean, 1e-5);
  EXPECT_NEAR(d->rms, std::sqrt(1.25 / kTinyVocab - mean * mean), 1e-5);
  const double reference_mean = 4.5 / kTinyVocab;
  EXPECT_NEAR(d->reference_rms,
              std::sqrt((4.0 + 6.25) / kTinyVocab - reference_mean * reference_mean), 1e-5);

  // What is added to all logits alike changes nothing.
  std::vector<float> raised = logits_with(3.0f, 2.0f);
  for (float& logit : raised) logit += 7.0f;
  Model same = constant_model(raised);
  const auto none = compare_logits(model, same, clean_batch(sequences.data), 1);
  ASSERT_TRUE(none.ok());
  EXPECT_NEAR(none->largest, 0.0, 1e-5);
  EXPECT_EQ(none->same_argmax, 1.0);
}

TEST(LogitDifference, TheMaskIsNoPrediction) {
  const Sequences sequences;
  std::vector<float> first = logits_with(3.0f, 2.0f), second = logits_with(2.0f, 3.0f);
  first[kTinyMask] = second[kTinyMask] = 9.0f;
  Model model = constant_model(first), reference = constant_model(second);
  EXPECT_EQ(compare_logits(model, reference, clean_batch(sequences.data), 1)->same_argmax, 0.0);
}

TEST(LogitDifference, DamagedWeightsAreAFailure) {
  const Sequences sequences;
  Model model = random_model(), reference = random_model();
  model.parameters()[model.layout().head](5, 0) = std::nanf("");  // hidden states are finite
  const auto d = compare_logits(model, reference, clean_batch(sequences.data), 1);
  ASSERT_FALSE(d.ok());
  EXPECT_EQ(d.error().kind, Error::Kind::failure);
}

TEST(LogitDifference, RefusesModelsThatCannotBeCompared) {
  const Sequences sequences;
  Model model = random_model();
  ModelConfig config = tiny_config();
  config.attention_block = 4;
  Model other = random_model(config);
  const auto d = compare_logits(model, other, clean_batch(sequences.data), 1);
  ASSERT_FALSE(d.ok());
  EXPECT_NE(d.error().message.find("attention blocks 0 and 4"), std::string::npos);
  config = tiny_config();
  config.max_positions = 11;
  Model narrow = random_model(config);
  const auto long_ones = compare_logits(model, narrow, clean_batch(sequences.data), 1);
  ASSERT_FALSE(long_ones.ok());
  EXPECT_NE(long_ones.error().message.find("have 11 positions"), std::string::npos);
}

}  // namespace
}  // namespace unmask
