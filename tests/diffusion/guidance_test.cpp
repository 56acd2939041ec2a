#include "tests/diffusion/tiny_model.h"
#include <vector>

#include <gtest/gtest.h>

#include "unmask/diffusion/forward_batch.h"
#include "unmask/diffusion/generate.h"

namespace unmask {
namespace {

const std::vector<int32_t> kPrompt = {1, 2, 3};
constexpr int32_t kLength = 4;

// Logits of the masked positions of a canvas in which also the prompt is masked, or not.
std::vector<std::vector<float>> logits_of(Model& model, bool with_prompt) {
  const Canvas canvas = Canvas::continuation(kPrompt, kLength, kTinyMask);
  std::vector<uint8_t> masked(canvas.masked().begin(), canvas.masked().end());
  if (!with_prompt) std::fill(masked.begin(), masked.end(), 1);
  const BatchLayout layout = decoding_layout(model.config());
  ForwardBatch batch;
  batch.clear();
  const int32_t first = batch.add(layout, canvas.tokens(), masked);
  batch.finish(layout);
  Tape tape;
  tape.mode = Tape::Mode::inference;
  model.forward(batch.batch(), tape);
  std::vector<int32_t> rows;
  for (int32_t i = 0; i < kLength; ++i) rows.push_back(first + canvas.size() - kLength + i);
  const Matrix logits = tape.arena.matrix(kLength, kTinyVocab);
  model.head_forward(tape, rows, logits);
  std::vector<std::vector<float>> result;
  for (int64_t r = 0; r < kLength; ++r) {
    result.emplace_back(logits.row(r), logits.row(r) + kTinyVocab);
  }
  return result;
}

std::vector<int32_t> written(Model& model, float guidance) {
  GenerateOptions options;
  options.steps = 1;
  options.stop_at_end = false;
  options.guidance = guidance;
  const GenerateRequest request = {Canvas::continuation(kPrompt, kLength, kTinyMask), 1};
  Tape tape;
  const auto result = generate(model, std::span(&request, 1), options, tape);
  UNMASK_CHECK(result.ok());
  const auto& tokens = result->front().tokens;
  return {tokens.begin() + std::ssize(kPrompt), tokens.end()};
}

TEST(Guidance, ExtrapolatesFromTheLogitsWithoutThePrompt) {
  int changed = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Model model = random_model(tiny_config(), seed);
    const auto c = logits_of(model, true), u = logits_of(model, false);
    for (const float w : {0.5f, 3.0f}) {
      std::vector<int32_t> expected;
      for (int32_t i = 0; i < kLength; ++i) {
        int32_t best = 0;
        const auto guided = [&](int32_t v) { return u[i][v] + (w + 1) * (c[i][v] - u[i][v]); };
        for (int32_t v = 0; v < kTinyMask; ++v) best = guided(v) > guided(best) ? v : best;
        expected.push_back(best);
      }
      EXPECT_EQ(written(model, w), expected) << "seed " << seed << ", w " << w;
      changed += expected != written(model, 0.0f);
    }
  }
  EXPECT_GT(changed, 0) << "the test saw no token that guidance changes";
}

TEST(Guidance, EachOfABatchIsAsAlone) {
  Model model = random_model();
  GenerateOptions options;
  options.steps = 4;
  options.stop_at_end = false;
  options.guidance = 2.0f;
  const std::vector<GenerateRequest> requests = {
      {Canvas::continuation(kPrompt, 9, kTinyMask), 1},
      {Canvas::infill(std::vector<int32_t>{4, 0, 5, 0, 0, 6},
                      std::vector<uint8_t>{0, 1, 0, 1, 1, 0}, kTinyMask),
       2}};
  Tape tape;
  const auto together = generate(model, requests, options, tape);
  ASSERT_TRUE(together.ok());
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto alone = generate(model, std::span(&requests[i], 1), options, tape);
    ASSERT_TRUE(alone.ok());
    EXPECT_EQ((*together)[i].tokens, alone->front().tokens);
  }
}

TEST(Guidance, RefusesWhatItCannotDo) {
  Model model = random_model();
  Tape tape;
  const GenerateRequest request = {Canvas::continuation(kPrompt, kLength, kTinyMask), 1};
  GenerateOptions options;
  options.guidance = -1.0f;
  EXPECT_FALSE(generate(model, std::span(&request, 1), options, tape).ok());
  options.guidance = 1.0f;
  options.cache = GenerateOptions::Cache::dual;
  EXPECT_FALSE(generate(model, std::span(&request, 1), options, tape).ok());

  // Two canvases of one pass would compete for experts.
  options.cache = GenerateOptions::Cache::off;
  ModelConfig competing = model.config();
  EXPECT_TRUE(check_options(options, competing).ok());
  competing.routing.drop.emplace();
  EXPECT_FALSE(check_options(options, competing).ok());
}

TEST(Guidance, HasNoCacheWithModelsThatAttendInBlocks) {
  ModelConfig config = tiny_config();
  config.attention_block = 4;
  Model model = random_model(config);
  GenerateOptions options;
  options.steps = 2;
  options.stop_at_end = false;
  options.guidance = 2.0f;
  const GenerateRequest request = {
      Canvas::continuation(std::vector<int32_t>{1, 2, 3, 4, 5}, 11, kTinyMask), 1};
  Tape tape;
  const auto automatic = generate(model, std::span(&request, 1), options, tape);
  options.cache = GenerateOptions::Cache::off;
  const auto off = generate(model, std::span(&request, 1), options, tape);
  ASSERT_TRUE(automatic.ok() && off.ok());
  EXPECT_EQ(automatic->front().tokens, off->front().tokens);
  EXPECT_EQ(automatic->front().confidence, off->front().confidence);
  EXPECT_EQ(automatic->front().prefill_forwards, 0);
}

}  // namespace
}  // namespace unmask
