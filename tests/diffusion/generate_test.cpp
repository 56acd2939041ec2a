#include "unmask/diffusion/generate.h"

#include "tests/diffusion/tiny_model.h"
#include "tests/support/numeric.h"
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/diffusion/decoding.h"

namespace unmask {
namespace {

GenerateRequest request(std::vector<int32_t> prompt, int32_t length, uint64_t seed = 1) {
  return {Canvas::continuation(prompt, length, kTinyMask), seed};
}

std::vector<Generation> run(Model& model, const std::vector<GenerateRequest>& requests,
                            const GenerateOptions& options) {
  Tape tape;
  Result<std::vector<Generation>> result = generate(model, requests, options, tape);
  UNMASK_CHECK(result.ok());
  return std::move(result).value();
}

std::vector<float> preferring(int32_t token) {
  std::vector<float> logits(kTinyVocab, 0.0f);
  logits[token] = 4.0f;
  return logits;
}

TEST(Generate, AlwaysEndsWithEveryPositionFilled) {
  Model model = random_model();
  for (const auto& sampler : {SamplerOptions{"quota"}, SamplerOptions{"threshold", 0.3f}}) {
    for (const int32_t steps : {1, 3, 7, 50}) {  // 50: more than there are positions
      for (const int32_t block : {0, 4, 5, 64}) {
        GenerateOptions options;
        options.steps = steps;
        options.block_length = block;
        options.sampler = sampler;
        options.stop_at_end = false;
        const Generation g = run(model, {request({1, 2, 3}, 11)}, options)[0];
        EXPECT_EQ(g.canvas.masked_count(), 0);
        EXPECT_EQ(g.tokens.size(), 14u);
        EXPECT_EQ(g.committed, 11);
        for (size_t i = 3; i < 14; ++i) EXPECT_NE(g.tokens[i], kTinyMask);
        if (block == 0) {
          EXPECT_LE(g.forwards, std::min(steps, 11));
          EXPECT_TRUE(sampler.policy != "quota" || g.forwards == std::min(steps, 11));
        }
      }
    }
  }
}

TEST(Generate, BlocksAreFilledLeftToRightAlignedToPositionZero) {
  Model model = random_model();
  GenerateOptions options;
  options.block_length = 4;
  options.steps = 2;
  options.stop_at_end = false;
  int32_t last_block = 0;
  std::vector<int32_t> commits_per_step;
  options.on_step = [&](const DenoisingEvent& event) {
    commits_per_step.push_back(static_cast<int32_t>(event.commits.size()));
    for (const Commit& c : event.commits) {
      EXPECT_GE(c.position / 4, last_block);
      last_block = c.position / 4;
      EXPECT_EQ(event.canvas.tokens()[c.position], c.token);
    }
    EXPECT_EQ(event.canvas.masked_count(0, last_block * 4), 0);
  };
  // Positions 3..9: one in the first block, four in the second, two in the third; two at a time.
  run(model, {request({1, 2, 3}, 7)}, options);
  EXPECT_EQ(commits_per_step, (std::vector<int32_t>{1, 2, 2, 2}));
}

TEST(Generate, TemperatureZeroIgnoresTheSeed) {
  Model model = random_model();
  GenerateOptions options;
  options.steps = 5;
  options.stop_at_end = false;
  const auto a = run(model, {request({1, 2}, 12, 1)}, options)[0].tokens;
  EXPECT_EQ(a, run(model, {request({1, 2}, 12, 2)}, options)[0].tokens);
  options.temperature = 1.0f;
  const auto b = run(model, {request({1, 2}, 12, 1)}, options)[0].tokens;
  EXPECT_EQ(b, run(model, {request({1, 2}, 12, 1)}, options)[0].tokens);
  EXPECT_NE(b, run(model, {request({1, 2}, 12, 2)}, options)[0].tokens);
}

TEST(Generate, EachOfABatchIsAsAlone) {
  ModelConfig causal = tiny_config();
  causal.attention_block = 4;
  ModelConfig voting = causal;
  voting.routing.policy = RoutingPolicy::Selection::block_experts;
  voting.routing.block.size = 4;
  voting.routing.block.coreset_min = 2;
  ModelConfig dropping = tiny_config();
  dropping.routing.drop = RoutingPolicy::Drop{.capacity_factor = 0.6};
  ModelConfig by_batch = tiny_expert_choice();
  by_batch.routing.selection = RoutingPolicy::Group::batch;
  for (const ModelConfig& config :
       {tiny_config(), tiny_expert_choice(), causal, voting, dropping, by_batch}) {
    Model model = random_model(config);
    const std::vector<GenerateRequest> requests = {request({1, 2, 3}, 9, 1), request({}, 20, 2),
                                                   request({4, kTinyMask, 6, 7, 8}, 3, 3),
                                                   request({9}, 14, 4)};
    for (const float temperature : {0.0f, 1.0f}) {
      GenerateOptions options;
      options.steps = 4;
      options.temperature = temperature;
      options.sampler = {"threshold", 0.5f};
      const auto together = run(model, requests, options);
      for (size_t i = 0; i < requests.size(); ++i) {
        const Generation alone = run(model, {requests[i]}, options)[0];
        EXPECT_EQ(together[i].tokens, alone.tokens) << "request " << i;
        EXPECT_EQ(together[i].forwards, alone.forwards);
        EXPECT_EQ(together[i].unique_experts, alone.unique_experts);
      }
    }
  }
}

ModelConfig block_causal(int32_t block) {
  ModelConfig config = tiny_config();
  config.attention_block = block;
  return config;
}

ModelConfig block_experts(int32_t block) {
  ModelConfig config = block_causal(block);
  config.routing.policy = RoutingPolicy::Selection::block_experts;
  config.routing.block.size = block;
  config.routing.block.coreset_min = 2;
  return config;
}

// Every step of a decoding with the figures that the logits give.
std::vector<Commit> trace(Model& model, const GenerateRequest& r, GenerateOptions options,
                          Generation& g) {
  std::vector<Commit> all;
  options.on_step = [&](const DenoisingEvent& event) {
    for (const auto& part : {event.commits, event.provisional, event.edits}) {
      all.insert(all.end(), part.begin(), part.end());
    }
  };
  g = run(model, {r}, options)[0];
  return all;
}

TEST(Generate, TheCacheChangesNoBit) {
  const std::vector<uint8_t> gaps = {0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1,
                                     0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0};
  const std::vector<int32_t> threes(gaps.size(), 3);
  ModelConfig choosing = block_experts(4);
  choosing.routing.policy = RoutingPolicy::Selection::coreset_expert_choice;
  ModelConfig choosing_all = choosing;
  choosing_all.routing.policy = RoutingPolicy::Selection::expert_choice;
  choosing_all.routing.selection = RoutingPolicy::Group::block;
  ModelConfig pooled = block_experts(4);
  pooled.routing.policy = RoutingPolicy::Selection::block_routing;
  pooled.routing.block.pool = 3;
  for (const ModelConfig& config :
       {block_causal(4), block_experts(4), pooled, choosing, choosing_all}) {
    Model model = random_model(with_edit_tokens(config));
    for (const GenerateRequest& r : {request({1, 2, 3, 4, 5, 6, 7, 8, 9}, 23), request({}, 30, 2),
                                     request({1, 2, 3, kTinyMask, 5, 6, 7, 8}, 8, 3),
                                     GenerateRequest{Canvas::infill(threes, gaps, kTinyMask)}}) {
      for (const std::string_view sampler : sampler_names()) {
        GenerateOptions options;
        options.steps = 3;
        options.sampler.policy = sampler;
        options.block_length = sampler == "quota" ? 8 : 0;
        options.temperature = sampler == "margin" ? 1.0f : 0.0f;
        Generation with, without;
        options.cache = GenerateOptions::Cache::off;
        const auto expected = trace(model, r, options, without);
        options.cache = GenerateOptions::Cache::automatic;
        const auto found = trace(model, r, options, with);
        ASSERT_EQ(found.size(), expected.size());
        for (size_t i = 0; i < found.size(); ++i) {
          ASSERT_EQ(found[i].position, expected[i].position);
          ASSERT_EQ(found[i].token, expected[i].token);
          ASSERT_EQ(found[i].confidence, expected[i].confidence);
        }
        EXPECT_EQ(with.tokens, without.tokens);
        EXPECT_EQ(with.forwards, without.forwards);
        EXPECT_EQ(with.unique_experts, without.unique_experts);
        EXPECT_EQ(without.prefill_forwards + without.commit_forwards, 0);
        EXPECT_EQ(with.prefill_forwards, r.canvas.given()[0] && !r.canvas.masked()[1] ? 1 : 0);
      }
    }
  }
}

// Rows of a pass are bounded, whatever the prompts are, which changes nothing else.
TEST(Generate, LongPromptsTakeSeveralPasses) {
  ModelConfig config = block_experts(4);
  config.layers = 2;
  config.max_positions = 4096;
  Model model = random_model(config);
  std::vector<int32_t> tokens(kRowsOfPass + 6);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i % 7);
  GenerateOptions options;
  options.steps = 2;
  options.stop_at_end = false;
  options.sampler.policy = "threshold";
  const GenerateRequest r = request(tokens, 8);
  Generation with, without;
  const auto found = trace(model, r, options, with);
  options.cache = GenerateOptions::Cache::off;
  const auto expected = trace(model, r, options, without);
  EXPECT_EQ(with.prefill_forwards, 2);
  EXPECT_EQ(with.tokens, without.tokens);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].confidence, expected[i].confidence);

  options.cache = GenerateOptions::Cache::automatic;
  tokens.resize(kRowsOfPass * 2 / 3);
  const std::vector<GenerateRequest> requests = {r, request(tokens, 8, 1), request({3}, 8, 2)};
  Tape tape;
  GenerateReport report;
  const auto together = generate(model, requests, options, tape, &report);
  ASSERT_TRUE(together.ok());
  EXPECT_GT(report.forwards, with.forwards + with.prefill_forwards + with.commit_forwards);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ((*together)[i].tokens, run(model, {requests[i]}, options)[0].tokens);
  }
}

TEST(Generate, CountsPrefillAndCommitForwards) {
  Model model = random_model(block_causal(4));
  GenerateOptions options;
  options.steps = 2;
  options.stop_at_end = false;
  // Positions 0..8 are prompt: two blocks to prefill; three positions of the third, two blocks
  // behind it, the last of which nobody looks back at.
  GenerateReport report;
  Tape tape;
  const GenerateRequest r = request({1, 2, 3, 4, 5, 6, 7, 8, 9}, 11);
  const auto result = generate(model, std::span(&r, 1), options, tape, &report);
  ASSERT_TRUE(result.ok());
  const Generation& g = result->front();
  EXPECT_EQ(g.prefill_forwards, 1);
  EXPECT_EQ(g.commit_forwards, 2);
  EXPECT_EQ(g.forwards, 6);
  EXPECT_EQ(report.forwards, 9);
  EXPECT_EQ(report.denoise_forwards, 6);
  EXPECT_EQ(report.cache_bytes, int64_t{2} * 2 * 20 * 8 * 4);
  EXPECT_LT(report.denoise_expert_bytes, report.expert_bytes);
}

TEST(Generate, CachesWhereRoutingLooksAtOneBlock) {
  EXPECT_TRUE(routes_block_by_block(block_causal(4), 4));
  EXPECT_TRUE(routes_block_by_block(block_experts(4), 8));
  ModelConfig config = block_experts(4);
  config.routing.block.size = 8;
  EXPECT_FALSE(routes_block_by_block(config, 4));
  config = block_causal(4);
  config.routing.drop.emplace();
  EXPECT_FALSE(routes_block_by_block(config, 4));
  config = tiny_expert_choice();
  config.attention_block = 4;
  EXPECT_FALSE(routes_block_by_block(config, 4));
  config.routing.block.size = 4;
  EXPECT_FALSE(routes_block_by_block(config, 4)) << "the whole sequence competes";
  config.routing.selection = RoutingPolicy::Group::block;
  EXPECT_FALSE(routes_block_by_block(config, 4)) << "its mask ratio sets the capacity";
  config.routing.capacity.reset();
  EXPECT_TRUE(routes_block_by_block(config, 4));
  config.routing.selection = RoutingPolicy::Group::sequence;
  config.routing.policy = RoutingPolicy::Selection::coreset_expert_choice;
  EXPECT_TRUE(routes_block_by_block(config, 4));
  config = tiny_expert_choice();
  config.attention_block = 4;

  Model model = random_model(config);
  GenerateOptions options;
  EXPECT_EQ(run(model, {request({1, 2, 3, 4, 5}, 9)}, options)[0].prefill_forwards, 0);
  options.cache = GenerateOptions::Cache::on;
  EXPECT_EQ(run(model, {request({1, 2, 3, 4, 5}, 9)}, options)[0].prefill_forwards, 1);
}

// Where nothing old is used the approximations are none; else the canvas is filled all the same,
// and requests do not see each other.
TEST(Generate, OldKeysAndValuesOfTheWholeCanvas) {
  using Cache = GenerateOptions::Cache;
  Model model = random_model();
  const std::vector<GenerateRequest> requests = {request({1, 2, 3}, 57, 1), request({4}, 30, 2)};
  GenerateOptions options;
  options.stop_at_end = false;
  options.block_length = 8;
  options.temperature = 1.0f;
  options.steps = 1;  // each block in one step, which computes the whole canvas
  const auto exact = run(model, requests, options)[0].tokens;
  for (const Cache cache : {Cache::prefix, Cache::dual, Cache::vicinity}) {
    options.cache = cache;
    EXPECT_EQ(run(model, requests, options)[0].tokens, exact);
  }
  options.steps = 8;
  options.temperature = 0.0f;
  std::vector<std::vector<int32_t>> found;
  for (const Cache cache : {Cache::off, Cache::prefix, Cache::dual, Cache::vicinity}) {
    options.cache = cache;
    const auto together = run(model, requests, options);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(together[i].canvas.masked_count(), 0);
      EXPECT_EQ(together[i].tokens, run(model, {requests[i]}, options)[0].tokens);
    }
    found.push_back(together[0].tokens);
  }
  EXPECT_NE(found[2], found[0]) << "the case is too easy: old values change nothing";
  // One block of the whole canvas has no other positions, whose values could be old.
  options.block_length = 0;
  EXPECT_FALSE(check_options(options, model.config()).ok());
}

// What edits of a block are made does not depend on what else is decoded, nor on a cache.
TEST(Generate, InsertsAndDeletesAloneAsTogether) {
  Model model = random_model(with_edit_tokens(block_causal(8)));
  GenerateOptions options;
  options.steps = 4;
  options.sampler.policy = "levenshtein";
  options.stop_at_end = false;
  int64_t commits = 0;
  options.on_step = [&](const DenoisingEvent& event) { commits += std::ssize(event.commits); };
  const std::vector<GenerateRequest> requests = {request({1, 2, 3}, 40), request({}, 17, 5),
                                                 request({4, 4, 4, 4, 4, 4, 4, 4, 4}, 30, 6)};
  for (const float temperature : {0.0f, 1.0f}) {
    options.temperature = temperature;
    options.cache = GenerateOptions::Cache::automatic;
    commits = 0;
    const auto together = run(model, requests, options);
    EXPECT_GT(commits, 40 + 17 + 30) << "nothing was masked again";
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(together[i].tokens, run(model, {requests[i]}, options)[0].tokens);
      EXPECT_EQ(together[i].canvas.masked_count(), 0);
      EXPECT_EQ(together[i].committed, requests[i].canvas.masked_count());
      EXPECT_GT(together[i].forwards, 8);
    }
    options.cache = GenerateOptions::Cache::off;
    const auto computed = run(model, requests, options);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(together[i].tokens, computed[i].tokens);
    }
  }
  const Status none = check_options(options, block_causal(8));
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("delete_token_id"), std::string::npos);
}

// An end token that is edited away ends nothing, and what stands before one may be edited still.
TEST(Generate, EndsAtWhatIsNotEditedAnyMore) {
  ModelConfig config = block_causal(8);
  GenerateOptions options;
  options.steps = 2;
  options.sampler = {.policy = "editing", .threshold = 0.5f, .edit_threshold = 0.0f};
  int32_t ended = 0;
  for (int32_t end = 0; end < kTinyMask; ++end) {
    config.end_token = config.pad_token = end;
    Model model = random_model(config);
    options.stop_at_end = false;
    auto whole = run(model, {request({1, 2, 3}, 61)}, options)[0].tokens;
    const auto found = std::find(whole.begin() + 3, whole.end(), end);
    options.stop_at_end = true;
    const Generation g = run(model, {request({1, 2, 3}, 61)}, options)[0];
    EXPECT_EQ(g.ended, found != whole.end()) << end;
    whole.erase(found, whole.end());
    EXPECT_EQ(g.tokens, whole) << end;
    ended += g.ended;
  }
  EXPECT_GT(ended, 3);
}

TEST(Generate, EverySamplerEndsAndEditsAreCounted) {
  Model model = random_model(with_edit_tokens(block_causal(4)));
  for (const std::string_view sampler : sampler_names()) {
    const bool moves = sampler == "levenshtein";
    GenerateOptions options;
    options.sampler.policy = sampler;
    if (sampler == "editing") options.sampler.edit_threshold = 0.2f;
    options.stop_at_end = false;
    int32_t edits = 0;
    size_t shown = 0;
    std::vector<float> confidence(28, 1.0f);
    options.on_step = [&](const DenoisingEvent& event) {
      for (const Commit& c : event.commits) confidence[c.position] = c.confidence;
      for (const Commit& c : event.edits) confidence[c.position] = c.confidence;
      // What is still masked in the active block has a provisional token.
      for (const Commit& c : event.provisional) {
        EXPECT_TRUE(event.canvas.masked()[c.position]);
        EXPECT_NE(c.token, kTinyMask);
      }
      for (const Commit& c : event.commits) {
        const int32_t begin = c.position / 4 * 4;
        const int32_t masked = event.canvas.masked_count(begin, begin + 4);
        if (moves) {  // masks that it makes have none
          EXPECT_GE(masked, std::ssize(event.provisional));
        } else {
          EXPECT_EQ(masked, std::ssize(event.provisional));
        }
      }
      shown += event.provisional.size();
      edits += static_cast<int32_t>(event.edits.size());
      for (const Commit& c : event.edits) {
        EXPECT_EQ(event.canvas.tokens()[c.position], c.token);
        EXPECT_FALSE(event.canvas.given()[c.position]);
      }
    };
    const Generation g = run(model, {request({1, 2, 3}, 25)}, options)[0];
    EXPECT_EQ(g.canvas.masked_count(), 0) << sampler;
    EXPECT_EQ(g.committed, 25) << sampler;
    EXPECT_EQ(g.confidence, confidence) << sampler;
    EXPECT_EQ(g.edited, edits);
    EXPECT_EQ(edits > 0, moves || sampler == "editing");
    for (const int32_t token : g.tokens) {
      EXPECT_TRUE(token != kTinyDelete && token != kTinyInsert) << sampler;
    }
    EXPECT_GT(shown, 0u) << sampler;
  }
}

TEST(Generate, StopTokensAndStopTexts) {
  Model model = random_model();
  GenerateOptions options;
  options.steps = 64;
  options.block_length = 1;
  options.stop_at_end = false;
  const auto all = run(model, {request({1, 2}, 20)}, options)[0].tokens;
  const int32_t fourth = all[5];
  const auto first = std::find(all.begin() + 2, all.end(), fourth);
  options.stop_at_end = true;
  options.stop_tokens = {fourth};
  const Generation by_token = run(model, {request({1, 2}, 20)}, options)[0];
  EXPECT_TRUE(by_token.ended);
  EXPECT_FALSE(by_token.stopped);
  EXPECT_LE(by_token.tokens.size(), static_cast<size_t>(first - all.begin()));

  options.stop_tokens = {};
  ModelConfig several = tiny_config();
  several.other_end_tokens = {fourth};
  Model ending = random_model(several);
  EXPECT_EQ(run(ending, {request({1, 2}, 20)}, options)[0].tokens, by_token.tokens);

  options.stop_at_end = false;
  options.stop = [](std::span<const int32_t> written) {
    return written.size() >= 7 ? 4 : -1;  // found late, but began early
  };
  const Generation by_text = run(model, {request({1, 2}, 20)}, options)[0];
  EXPECT_TRUE(by_text.ended);
  EXPECT_TRUE(by_text.stopped);
  EXPECT_EQ(by_text.forwards, 7);
  EXPECT_EQ(by_text.tokens, std::vector<int32_t>(all.begin(), all.begin() + 6));
}

TEST(Generate, PromptMayHoldMaskAndEndTokens) {
  Model model = constant_model(preferring(5));
  const Generation g =
      run(model, {request({kTinyMask, kTinyEnd, 2, kTinyMask}, 3)}, GenerateOptions())[0];
  EXPECT_EQ(g.tokens, (std::vector<int32_t>{kTinyMask, kTinyEnd, 2, kTinyMask, 5, 5, 5}));
  EXPECT_FALSE(g.ended);
}

TEST(Generate, StopsAtTheEndTokenAndDropsWhatIsBehind) {
  Model model = constant_model(preferring(kTinyEnd));
  GenerateOptions options;
  options.steps = 5;  // of ten positions, all equally sure: the two lowest first
  const Generation g = run(model, {request({1, 2}, 10)}, options)[0];
  EXPECT_TRUE(g.ended);
  EXPECT_FALSE(g.cancelled);
  EXPECT_EQ(g.forwards, 1);
  EXPECT_EQ(g.tokens, (std::vector<int32_t>{1, 2}));
  options.stop_at_end = false;
  EXPECT_EQ(run(model, {request({1, 2}, 10)}, options)[0].tokens.size(), 12u);
}

TEST(Generate, AnEndTokenBehindMaskedPositionsDoesNotStop) {
  Model model = random_model();
  GenerateOptions options;
  options.steps = 30;
  options.temperature = 4.0f;  // confidence ignores it, so positions come in any order
  int ended = 0;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Canvas last;
    options.on_step = [&](const DenoisingEvent& event) { last = event.canvas; };
    const Generation g = run(model, {request({1}, 12, seed)}, options)[0];
    if (!g.ended) {
      EXPECT_EQ(last.masked_count(), 0);
      continue;
    }
    ++ended;
    const auto length = static_cast<int32_t>(g.tokens.size());
    EXPECT_EQ(last.masked_count(0, length), 0);
    EXPECT_EQ(last.tokens()[length], kTinyEnd);
    for (const int32_t token : g.tokens) EXPECT_NE(token, kTinyEnd);
  }
  EXPECT_GT(ended, 0) << "the test saw no end token";
}

TEST(Generate, InfillingFillsTheGapsAndKeepsTheText) {
  Model model = constant_model(preferring(kTinyEnd));
  const std::vector<int32_t> tokens = {1, 0, 0, 4, 5, 0, 7};
  const std::vector<uint8_t> masked = {0, 1, 1, 0, 0, 1, 0};
  const Generation g =
      run(model, {{Canvas::infill(tokens, masked, kTinyMask), 1}}, GenerateOptions())[0];
  EXPECT_EQ(g.tokens, (std::vector<int32_t>{1, kTinyEnd, kTinyEnd, 4, 5, kTinyEnd, 7}));
  EXPECT_FALSE(g.ended);
}

TEST(Generate, CancellingKeepsWhatWasCommitted) {
  Model model = random_model();
  std::atomic<bool> cancel = false;
  GenerateOptions options;
  options.steps = 10;
  options.stop_at_end = false;
  options.cancel = &cancel;
  options.on_step = [&](const DenoisingEvent& event) { cancel = event.step == 3; };
  const Generation g = run(model, {request({1, 2}, 10)}, options)[0];
  EXPECT_TRUE(g.cancelled);
  EXPECT_EQ(g.forwards, 3);
  EXPECT_EQ(g.committed, 3);
  EXPECT_EQ(g.canvas.masked_count(), 7);
  for (const int32_t token : g.tokens) EXPECT_NE(token, kTinyMask);
}

TEST(Generate, ReportsExpertsAndForwards) {
  const ModelConfig config = tiny_expert_choice();  // every expert takes some token of a sequence
  Model model = random_model(config);
  Tape tape;
  GenerateReport report;
  GenerateOptions options;
  options.steps = 6;
  options.stop_at_end = false;
  const std::vector<GenerateRequest> requests = {request({1, 2, 3}, 8), request({}, 3)};
  const auto result = generate(model, requests, options, tape, &report);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(report.forwards, 6);
  EXPECT_EQ((*result)[1].forwards, 3);
  EXPECT_EQ((*result)[0].unique_experts, (std::vector<double>{4, 4}));
  EXPECT_NEAR((*result)[0].tokens_per_forward(), 8.0 / 6.0, 1e-12);
  EXPECT_EQ(report.expert_bytes, int64_t{6} * 2 * 4 * 3 * 16 * 8 * 4);
  EXPECT_GT(report.seconds, 0);
  EXPECT_GT(report.peak_memory, 0);
}

TEST(Generate, BadInputIsAUsageError) {
  Model model = random_model();
  Tape tape;
  const auto error_of = [&](const GenerateRequest& r, const GenerateOptions& options) {
    const auto result = generate(model, std::span(&r, 1), options, tape);
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind, Error::Kind::usage);
    return result.error().message;
  };
  EXPECT_NE(error_of(request(std::vector<int32_t>(60, 1), 5), {}).find("65 positions"),
            std::string::npos);
  EXPECT_NE(error_of(request({1, kTinyVocab}, 5), {}).find("vocabulary"), std::string::npos);
  error_of(request({-1}, 5), {});
  error_of(request({}, 0), {});
  error_of(request({1}, 5), {.steps = 0});
  error_of(request({1}, 5), {.temperature = -1.0f});
  error_of(request({1}, 5), {.top_k = -1});
  error_of(request({1}, 5), {.top_p = 0.0f});
  error_of(request({1}, 5), {.sampler = {"nonsense"}});
  EXPECT_NE(error_of(request({1}, 5), {.cache = GenerateOptions::Cache::on}).find("cache"),
            std::string::npos);
}

TEST(Generate, DamagedWeightsAreAFailure) {
  Model model = random_model();
  Tape tape;
  const GenerateRequest r = request({1}, 4);
  const auto expect_failure = [&](const char* what) {
    const auto result = generate(model, std::span(&r, 1), {}, tape);
    ASSERT_FALSE(result.ok()) << what;
    EXPECT_EQ(result.error().kind, Error::Kind::failure);
  };
  model.parameters()[model.layout().head](5, 0) = std::nanf("");  // hidden states are finite
  expect_failure("head");
  for (float& w : model.parameters().flat()) w = std::nanf("");
  expect_failure("everything");
}

// First position and end of what each pass of a decoding computes, one token committed in each.
std::vector<std::pair<int32_t, int32_t>> computed(GenerateOptions::Cache cache) {
  Model model = random_model();
  const GenerateOptions options = {
      .steps = 8, .block_length = 8, .cache = cache, .stop_at_end = false};
  const ModelConfig& config = model.config();
  Decoding decoding(0, request({}, 64), make_sampler({"quota"}).value(), Precision::f32, options,
                    config);
  const BatchLayout layout = decoding_layout(config);
  ForwardBatch batch;
  Tape tape;
  tape.mode = Tape::Mode::inference;
  std::vector<int32_t> rows;
  std::vector<std::pair<int32_t, int32_t>> found;
  while (!decoding.done()) {
    batch.clear();
    rows.clear();
    decoding.add_to(layout, batch, rows);
    batch.finish(layout);
    const auto positions = batch.batch().positions;
    found.emplace_back(positions.front(), positions.back() + 1);
    model.forward(batch.batch(), tape);
    const auto logits = model.logits(tape, rows);
    UNMASK_CHECK(logits.ok());
    decoding.advance(tape, *logits);
  }
  return found;
}

TEST(Generate, OldKeysAndValuesAreOfWhatEachApproximationLeavesOut) {
  using Cache = GenerateOptions::Cache;
  for (const Cache cache : {Cache::prefix, Cache::dual, Cache::vicinity}) {
    const auto found = computed(cache);
    ASSERT_EQ(found.size(), 64u);
    for (int32_t step = 0; step < 64; ++step) {
      const int32_t begin = step / 8 * 8, end = begin + 8;
      std::pair<int32_t, int32_t> expected = {begin, cache == Cache::prefix ? 64 : end};
      if (cache == Cache::vicinity) {
        expected = {std::max(begin - 16, 0), std::min(end + 16, 64)};
      }
      if (step % 8 == 0 || (cache == Cache::vicinity && step < 4)) expected = {0, 64};
      EXPECT_EQ(found[step], expected) << "step " << step;
    }
  }
}

TEST(Generate, AStopTextBehindTheEndTokenDoesNotCount) {
  Model model = constant_model(preferring(kTinyEnd));
  GenerateOptions options;
  options.steps = 1;
  options.stop = [](std::span<const int32_t> written) { return written.size() > 3 ? 3 : -1; };
  const Generation g = run(model, {request({1, 2}, 10)}, options)[0];
  EXPECT_TRUE(g.ended);
  EXPECT_FALSE(g.stopped);
  EXPECT_EQ(g.tokens, (std::vector<int32_t>{1, 2}));
}

// Steps with nothing masked, for each block of four.
std::vector<int32_t> editing_steps(Model& model, const GenerateRequest& r,
                                   const std::string& sampler = "editing") {
  GenerateOptions options;
  options.steps = 2;
  options.sampler.policy = sampler;
  options.sampler.edit_threshold = 0.06f;  // above 1 / 19
  options.stop_at_end = false;
  std::vector<int32_t> steps(static_cast<size_t>(r.canvas.size() / 4));
  options.on_step = [&](const DenoisingEvent& event) {
    // The block is that of the last position that was ever decided.
    const int32_t decided = event.canvas.size() - event.canvas.masked_count();
    if (event.commits.empty()) ++steps[static_cast<size_t>((decided - 1) / 4)];
  };
  run(model, {r}, options);
  return steps;
}

TEST(Generate, ABlockIsLookedAtOnceMoreAndEditedForSixteenStepsAtMost) {
  Model settled = constant_model(preferring(5), block_causal(4));
  EXPECT_EQ(editing_steps(settled, request({}, 8)), (std::vector<int32_t>{1, 1}));
  int both = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Model model = random_model(block_causal(4), seed);
    const auto steps = editing_steps(model, request({}, 8));
    for (const int32_t count : steps) {
      EXPECT_GE(count, 1);
      EXPECT_LE(count, 16);
    }
    both += steps[0] == 16 && steps[1] == 16;
  }
  EXPECT_GT(both, 0) << "the test saw no model that edits for ever";
}

TEST(Generate, EveryBlockHasExtraStepsOfItsOwn) {
  int both = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Model model = random_model(with_edit_tokens(block_causal(4)), seed);
    const auto steps = editing_steps(model, request({}, 8), "levenshtein");
    both += steps[0] >= 12 && steps[1] >= 12;  // and some in which an edit is filled up
  }
  EXPECT_GT(both, 0);
}

TEST(Generate, UniqueExpertsByStepAreOfTheRoutedLayers) {
  ModelConfig config = tiny_config();
  config.dense_layers = 1;
  config.dense_ffn = 8;
  Model model = random_model(config);
  GenerateOptions options;
  options.steps = 4;
  options.stop_at_end = false;
  const Generation g = run(model, {request({1, 2}, 8)}, options)[0];
  ASSERT_EQ(g.unique_experts_by_step.size(), 4u);
  const double sum =
      std::accumulate(g.unique_experts_by_step.begin(), g.unique_experts_by_step.end(), 0.0);
  EXPECT_NEAR(sum / 4, g.unique_experts[1], 1e-6);
  EXPECT_EQ(g.unique_experts[0], 0.0);
}

TEST(Generate, OptionsHaveRanges) {
  const ModelConfig full = tiny_config(), causal = block_causal(4);
  const auto refused = [](const GenerateOptions& options, const ModelConfig& config) {
    return !check_options(options, config).ok();
  };
  EXPECT_TRUE(refused({.top_p = 1.5f}, full));
  EXPECT_TRUE(refused({.temperature = 1001.0f}, full));
  EXPECT_TRUE(refused({.block_length = -1}, full));
  for (const auto cache : {GenerateOptions::Cache::prefix, GenerateOptions::Cache::dual,
                           GenerateOptions::Cache::vicinity}) {
    EXPECT_TRUE(refused({.block_length = 8, .cache = cache}, causal));
    EXPECT_FALSE(refused({.block_length = 8, .cache = cache}, full));
  }
}

TEST(Generate, ReportsOfOneAfterTheOtherAddUp) {
  GenerateReport sum, more;
  sum.forwards = 1, sum.denoise_forwards = 2, sum.expert_bytes = 3, sum.denoise_expert_bytes = 4;
  sum.cache_bytes = 50, sum.seconds = 6, sum.sampling_seconds = 7, sum.peak_memory = 80;
  more.forwards = 10, more.denoise_forwards = 20, more.expert_bytes = 30;
  more.denoise_expert_bytes = 40, more.cache_bytes = 5, more.seconds = 60;
  more.sampling_seconds = 70, more.peak_memory = 8;
  sum.add(more);
  EXPECT_EQ(sum.forwards, 11);
  EXPECT_EQ(sum.denoise_forwards, 22);
  EXPECT_EQ(sum.expert_bytes, 33);
  EXPECT_EQ(sum.denoise_expert_bytes, 44);
  EXPECT_EQ(sum.cache_bytes, 50) << "one is gone before the next is there";
  EXPECT_EQ(sum.seconds, 66);
  EXPECT_EQ(sum.sampling_seconds, 77);
  EXPECT_EQ(sum.peak_memory, 80);
}

}  // namespace
}  // namespace unmask
