#include "unmask/diffusion/validation.h"

#include "tests/diffusion/tiny_model.h"
#include "tests/support/numeric.h"
#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

struct ValidationData {
  explicit ValidationData(int64_t sequences, int32_t length)
      : tokens(random_ids(sequences * length, kTinyEnd, 9)) {
    clean.tokens = {tokens.data(), sequences, length};
  }
  std::vector<int32_t> tokens;
  CleanBatch clean;
};

TEST(Validation, SameTwiceAndWithAnyBatchSize) {
  const ValidationData data(10, 16);
  for (const ModelConfig& config : {tiny_config(), tiny_expert_choice()}) {
    Model model = random_model(config);
    const BatchLayout layout = decoding_layout(config);
    Tape tape;
    const auto run = [&](int32_t batch_sequences, std::vector<float> levels) {
      return validation_loss(model, layout, data.clean,
                             {.levels = std::move(levels), .batch_sequences = batch_sequences},
                             tape);
    };
    for (const std::vector<float>& levels : {std::vector<float>{}, {0.2f, 0.7f}}) {
      const ValidationLoss first = run(4, levels), second = run(4, levels);
      EXPECT_EQ(first.loss(), second.loss());
      for (const int32_t size : {1, 3, 100}) {
        const ValidationLoss other = run(size, levels);
        EXPECT_EQ(other.masked_tokens, first.masked_tokens);
        // The same rows in larger or smaller products.
        EXPECT_NEAR(other.loss(), first.loss(), first.loss() * f32_tolerance(256));
      }
    }
  }
}

TEST(Validation, UniformPredictionsHaveTheEntropyOfTheVocabulary) {
  const ValidationData data(8, 20);
  Model model = uniform_model();
  Tape tape;
  const BatchLayout layout = decoding_layout(model.config());
  const ValidationLoss loss =
      validation_loss(model, layout, data.clean, {.levels = {0.1f, 0.5f, 0.9f}}, tape);
  EXPECT_NEAR(loss.loss(), std::log(kTinyVocab), 1e-6);
  EXPECT_NEAR(loss.perplexity(), kTinyVocab, 1e-4);
  EXPECT_EQ(loss.all.count, 24);
  for (const MeanLoss& level : loss.level_loss) {
    EXPECT_EQ(level.count, 8);
    EXPECT_NEAR(level.mean(), std::log(kTinyVocab), 1e-6);
  }
}

TEST(Validation, StratifiedRatiosCoverTheBins) {
  const ValidationData data(64, 50);
  Model model = uniform_model();
  Tape tape;
  const ValidationLoss loss =
      validation_loss(model, decoding_layout(model.config()), data.clean, {.draws = 2}, tape);
  ASSERT_EQ(loss.bins.size(), 100u);
  EXPECT_EQ(loss.all.count, 128);
  const auto quarters = loss.coarse_bins(4);
  int64_t count = 0;
  for (const MeanLoss& quarter : quarters) {
    EXPECT_NEAR(static_cast<double>(quarter.count), 32.0, 6.0);
    count += quarter.count;
  }
  EXPECT_EQ(count, 128);
}

TEST(Validation, MeasuresFallInTheBinOfTheirRealisedRatio) {
  const ValidationData data(1, 20);
  Model model = uniform_model();
  Tape tape;
  const auto bin = [&](float level) {
    const ValidationLoss loss = validation_loss(model, decoding_layout(model.config()), data.clean,
                                                {.levels = {level}}, tape);
    for (int i = 0; i < 100; ++i) {
      if (loss.bins[i].count) {
        EXPECT_EQ(i, (loss.masked_tokens * 100 - 1) / 20);
        return i;
      }
    }
    return -1;
  };
  EXPECT_EQ(bin(1.0f), 99);
  EXPECT_EQ(bin(0.0f), 4);  // one of twenty: (0.04, 0.05]
  bin(0.5f);
}

TEST(Validation, PromptsAreNotMeasured) {
  ValidationData data(3, 10);
  const std::vector<int32_t> prompt = {9, 10, 5}, length = {10, 10, 7};
  data.clean.prompt_length = prompt;
  data.clean.real_length = length;
  Model model = random_model();
  Tape tape;
  const ValidationLoss loss =
      validation_loss(model, decoding_layout(model.config()), data.clean, {.levels = {1.0f}}, tape);
  EXPECT_EQ(loss.masked_tokens, 1 + 0 + 2);
  EXPECT_EQ(loss.all.count, 2) << "the sequence without a response does not count";
}

TEST(Validation, SummarisesTheRoutingOfEveryLayer) {
  const ValidationData data(5, 12);
  ModelConfig config = tiny_config();
  config.layers = 3;
  config.dense_layers = 1;
  config.dense_ffn = 8;
  Model model = random_model(config);
  Tape tape;
  const ValidationLoss loss = validation_loss(model, decoding_layout(config), data.clean,
                                              {.draws = 2, .batch_sequences = 3}, tape);
  ASSERT_EQ(loss.routing.size(), 2u);
  for (int32_t i = 0; i < 2; ++i) {
    const RoutingSummary& layer = loss.routing[i];
    EXPECT_EQ(layer.layer, i + 1);
    EXPECT_EQ(layer.tokens, 5 * 2 * 12);
    EXPECT_EQ(std::accumulate(layer.load.begin(), layer.load.end(), int64_t{0}), 2 * layer.tokens);
    EXPECT_NEAR(layer.experts_per_token, 2.0, 1e-12);
    EXPECT_EQ(layer.experts_per_token_min, 2.0);
    EXPECT_EQ(layer.experts_per_token_max, 2.0);
    EXPECT_EQ(layer.share_without_expert, 0.0);
    EXPECT_GE(layer.max_over_mean_load(), 1.0);
    EXPECT_GT(layer.router_entropy, 0.0);
  }
}

TEST(Validation, BlockDiffusionLayout) {
  const ValidationData data(4, 12);
  Model model = random_model();
  Tape tape;
  const Objective objective = *Objective::create(
      {.kind = ObjectiveOptions::Kind::block, .block_size = 4}, model.config(), 1);
  const ValidationLoss one =
      validation_loss(model, objective.layout(), data.clean, {.batch_sequences = 1}, tape);
  const ValidationLoss four =
      validation_loss(model, objective.layout(), data.clean, {.batch_sequences = 4}, tape);
  EXPECT_NEAR(one.loss(), four.loss(), one.loss() * f32_tolerance(256));
}

// Of one draw: levels differ by what is masked more, not by chance.
TEST(Validation, LevelsShareTheirDraw) {
  const ValidationData data(4, 16);
  Model model = random_model();
  Tape tape;
  const ValidationLoss loss = validation_loss(model, decoding_layout(model.config()), data.clean,
                                              {.levels = {0.5f, 0.5f}, .batch_sequences = 4}, tape);
  EXPECT_EQ(loss.level_loss[0].mean(), loss.level_loss[1].mean());
}

}  // namespace
}  // namespace unmask
