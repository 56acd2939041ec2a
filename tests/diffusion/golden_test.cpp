#include "tests/support/golden.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/checkpoint/hugging_face.h"
#include "unmask/diffusion/forward_batch.h"
#include "unmask/diffusion/generate.h"

namespace unmask {
namespace {

// Greedy block decoding as recorded from LLaDA2's public code, with its original gate and with
// block experts. That code decodes whole blocks and cuts its answer afterwards, so the canvas is
// rounded up to blocks. It keeps keys and values, and so do we; without the cache the same comes
// out where routing looks at one block.
TEST(GoldenGenerate, GreedyBlockDecoding) {
  int32_t ran = 0;
  for (const test::GoldenCase& golden : test::golden_cases("generate")) {
    SCOPED_TRACE(golden.name());
    const auto& gen = golden.config().at("gen");
    // What decodes otherwise there, and is replayed forward by forward below.
    const auto& margins = golden.description().at("decision_margins");
    if (margins.contains("gen_stats") && margins.at("gen_stats").at("mask_token_predicted") != 0) {
      std::cout << golden.name() << ": commits the mask token, which ours never does\n";
      continue;
    }
    const std::string directory =
        test::golden_directory() + "/" + golden.description().at("checkpoint").get<std::string>();
    Result<ModelConfig> config = load_model_config(directory);
    ASSERT_TRUE(config.ok()) << config.error().message;
    const auto block = gen.at("block_length").get<int32_t>();
    config->routing = test::recorded_policy(golden, config->routing);
    config->routing.block.size = 32;  // whatever the blocks of attention
    config->mask_token = gen.at("mask_id");
    const auto end_token = gen.at("eos_id").get<int32_t>();
    if (end_token >= 0) config->end_token = end_token;
    Result<Model> model = Model::create(*config);
    ASSERT_TRUE(model.ok()) << model.error().message;
    const Status loaded = load_parameters(directory, *config, model->parameters());
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;

    const auto prompt_ids = golden.i64("prompt").values;
    const std::vector<int32_t> prompt(prompt_ids.begin(), prompt_ids.end());
    const auto size = static_cast<int32_t>(prompt.size()) + gen.at("gen_length").get<int32_t>();
    const int32_t rounded = (size + block - 1) / block * block;
    const GenerateRequest request{Canvas::continuation(
        prompt, rounded - static_cast<int32_t>(prompt.size()), config->mask_token)};
    GenerateOptions options;
    options.steps = gen.at("steps");
    options.block_length = block;
    options.sampler = {"threshold", gen.at("threshold")};
    options.stop_at_end = end_token >= 0;
    Tape tape;
    options.cache = GenerateOptions::Cache::on;
    const auto result = generate(*model, std::span(&request, 1), options, tape);
    ASSERT_TRUE(result.ok()) << result.error().message;
    const Generation& g = result->front();
    EXPECT_EQ(g.prefill_forwards + g.commit_forwards,
              margins.at("gen_stats").at("prefill_or_commit_forwards"));
    if (routes_block_by_block(*config, block)) {
      options.cache = GenerateOptions::Cache::off;
      const auto again = generate(*model, std::span(&request, 1), options, tape);
      ASSERT_TRUE(again.ok());
      EXPECT_EQ(again->front().tokens, g.tokens);
      EXPECT_EQ(again->front().unique_experts, g.unique_experts);
    }

    // Recorded: the answer, its end token included; behind the prompt when it stopped early.
    std::vector<int64_t> expected = golden.i64("output_tokens").values;
    if (gen.at("eos_early_stop").get<bool>()) {
      expected.erase(expected.begin(), expected.begin() + std::ssize(prompt));
    }
    if (end_token >= 0 && !expected.empty() && expected.back() == end_token) expected.pop_back();
    std::vector<int64_t> answer(g.tokens.begin() + std::ssize(prompt), g.tokens.end());
    answer.resize(std::min(answer.size(), static_cast<size_t>(gen.at("gen_length"))));
    EXPECT_EQ(answer, expected);
    EXPECT_EQ(g.forwards, golden.i64("num_denoise_forwards").values[0]);
    double unique = 0;
    for (const double experts : g.unique_experts) unique += experts;
    unique /= config->layers - config->dense_layers;
    EXPECT_NEAR(unique, golden.f32("avg_unique_experts").values[0], 1e-5);
    ++ran;
  }
  EXPECT_GT(ran, 0);
}

// The denoising forward passes as they were recorded, without a sampler: the same canvases against
// a cache of the blocks before, hence the same unique experts of every layer and the same logits.
TEST(GoldenGenerate, ForwardByForward) {
  int64_t ran = 0;
  for (const test::GoldenCase& golden : test::golden_cases("generate")) {
    SCOPED_TRACE(golden.name());
    const std::string directory =
        test::golden_directory() + "/" + golden.description().at("checkpoint").get<std::string>();
    Result<ModelConfig> config = load_model_config(directory);
    ASSERT_TRUE(config.ok()) << config.error().message;
    config->routing = test::recorded_policy(golden, config->routing);
    config->routing.block.size = 32;
    const int32_t length = golden.config().at("gen").at("block_length");
    config->attention_block = length;
    Result<Model> model = Model::create(*config);
    ASSERT_TRUE(model.ok()) << model.error().message;
    ASSERT_TRUE(load_parameters(directory, *config, model->parameters()).ok());

    std::vector<int64_t> known = golden.i64("output_tokens").values;
    if (!golden.config().at("gen").at("eos_early_stop").get<bool>()) {
      const auto prompt = golden.i64("prompt").values;
      known.insert(known.begin(), prompt.begin(), prompt.end());
    }
    const auto start = golden.i64("step_block_start").values;
    const auto input = golden.i64("step_block_input").values;
    const auto unique = golden.i64("step_unique_experts").values;
    const int32_t layers = config->layers - config->dense_layers;
    const BatchLayout layout = decoding_layout(*config);
    KvCache cache(*config, static_cast<int32_t>(start.back()) + length, Precision::f32);
    ForwardBatch forward;
    Tape tape;
    tape.mode = Tape::Mode::inference;
    const auto run = [&](std::span<const int64_t> ids) {
      const std::vector<int32_t> tokens(ids.begin(), ids.end());
      forward.clear();
      forward.add_cached(layout, tokens, std::vector<uint8_t>(tokens.size()), cache.length(),
                         cache);
      return model->forward(forward.batch(), tape);
    };
    for (size_t step = 0; step < start.size(); ++step, ++ran) {
      if (start[step] > cache.length()) {
        const auto rows = static_cast<int32_t>(start[step]) - cache.length();
        run(std::span(known).subspan(cache.length(), rows));
        cache.keep(rows);
      }
      run(std::span(input).subspan(step * length, length));
      for (int32_t layer = 0; layer < layers; ++layer) {
        const Assignment& assignment = tape.layers[config->dense_layers + layer].routing.assignment;
        int64_t count = 0;
        for (int32_t e = 0; e < assignment.experts; ++e) count += assignment.load(e) > 0;
        EXPECT_EQ(count, unique[step * layers + layer]) << "forward " << step;
      }
      if (step != 0 && step + 1 != start.size()) continue;
      const auto logits = golden.f32(step == 0 ? "first_step_logits" : "last_step_logits").values;
      std::vector<int32_t> block_rows(static_cast<size_t>(length));
      std::iota(block_rows.begin(), block_rows.end(), 0);
      const Matrix ours = tape.arena.matrix(length, config->vocab_size);
      model->head_forward(tape, block_rows, ours);
      for (int64_t i = 0; i < ours.size(); ++i) {
        const double expected = logits[i];
        ASSERT_NEAR(ours.data[i], expected, 1.414 * 4.3e-5 * std::max(1.0, std::abs(expected)));
      }
    }
  }
  std::cout << "replayed " << ran << " forward passes\n";
  EXPECT_GT(ran, 0);
}

}  // namespace
}  // namespace unmask
