#include "tests/support/golden.h"

#include <algorithm>
#include <cmath>
#include <iostream>
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
// rounded up to blocks.
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
    if (golden.config().at("variant") != "original" && gen.at("block_length") != 32) {
      std::cout << golden.name() << ": routes the prompt in blocks of 32, later ones of 16\n";
      continue;
    }
    const std::string directory =
        test::golden_directory() + "/" + golden.description().at("checkpoint").get<std::string>();
    Result<ModelConfig> config = load_model_config(directory);
    ASSERT_TRUE(config.ok()) << config.error().message;
    const auto block = gen.at("block_length").get<int32_t>();
    config->attention_block = block;
    config->routing = test::recorded_policy(golden, config->routing);
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
    const auto result = generate(*model, std::span(&request, 1), options, tape);
    ASSERT_TRUE(result.ok()) << result.error().message;
    const Generation& g = result->front();

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

// The denoising forward passes of block experts as they were recorded, without a sampler: the same
// canvases, hence the same unique experts of every layer and the same logits. The public code
// routes what it computes at once: the whole blocks of the prompt in blocks of 32 rows, each later
// block by itself.
TEST(GoldenGenerate, BlockExpertsForwardByForward) {
  int64_t ran = 0;
  for (const test::GoldenCase& golden : test::golden_cases("generate")) {
    if (golden.config().at("variant") == "original") continue;
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

    const auto prompt = golden.i64("prompt").values;
    std::vector<int32_t> known(prompt.begin(), prompt.end());
    for (const int64_t token : golden.i64("output_tokens").values) {
      known.push_back(static_cast<int32_t>(token));
    }
    const auto start = golden.i64("step_block_start").values;
    const auto input = golden.i64("step_block_input").values;
    const auto unique = golden.i64("step_unique_experts").values;
    const int32_t layers = config->layers - config->dense_layers;
    Tape tape;
    tape.mode = Tape::Mode::inference;
    for (size_t step = 0; step < start.size(); ++step, ++ran) {
      const auto first = static_cast<int32_t>(start[step]), rows = first + length;
      std::vector<int32_t> tokens(known.begin(), known.begin() + first);
      for (int32_t i = 0; i < length; ++i) {
        tokens.push_back(static_cast<int32_t>(input[step * length + i]));
      }
      ForwardBatch forward;
      forward.clear();
      const BatchLayout layout = decoding_layout(*config);
      forward.add(layout, tokens, std::vector<uint8_t>(rows));
      forward.finish(layout);
      Batch batch = forward.batch();
      const int32_t prefill = static_cast<int32_t>(prompt.size()) / length * length;
      std::vector<int32_t> routed = {0};
      for (int32_t end = prefill > 0 ? prefill : length; end <= rows; end += length) {
        routed.push_back(end);
      }
      const std::vector<float> mask_ratio(routed.size() - 1);
      batch.route.sequence_begin = routed;
      batch.route.mask_ratio = mask_ratio;
      batch.route.position = {};  // rows count, not positions
      const Matrix hidden = model->forward(batch, tape);

      for (int32_t layer = 0; layer < layers; ++layer) {
        const Assignment& assignment = tape.layers[config->dense_layers + layer].routing.assignment;
        int64_t count = 0;
        for (int32_t e = 0; e < assignment.experts; ++e) {
          const auto of_expert = assignment.tokens_of(e);
          count += !of_expert.empty() && of_expert.back() >= first;
        }
        EXPECT_EQ(count, unique[step * layers + layer]) << "forward " << step;
      }
      if (step != 0 && step + 1 != start.size()) continue;
      const auto logits = golden.f32(step == 0 ? "first_step_logits" : "last_step_logits").values;
      std::vector<int32_t> block_rows;
      for (int32_t t = first; t < rows; ++t) block_rows.push_back(t);
      const Matrix ours = tape.arena.matrix(length, config->vocab_size);
      model->head_forward(tape, block_rows, ours);
      ASSERT_EQ(hidden.rows, rows);
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
