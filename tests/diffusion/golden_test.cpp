#include "tests/support/golden.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/checkpoint/hugging_face.h"
#include "unmask/diffusion/generate.h"

namespace unmask {
namespace {

// Greedy block decoding as recorded from LLaDA2's public code with its original gate. That code
// decodes whole blocks and cuts its answer afterwards, so the canvas is rounded up to blocks.
TEST(GoldenGenerate, GreedyBlockDecoding) {
  int32_t ran = 0;
  for (const test::GoldenCase& golden : test::golden_cases("generate")) {
    if (golden.config().at("variant") != "original") continue;
    SCOPED_TRACE(golden.name());
    const auto& gen = golden.config().at("gen");
    const std::string directory =
        test::golden_directory() + "/" + golden.description().at("checkpoint").get<std::string>();
    Result<ModelConfig> config = load_model_config(directory);
    ASSERT_TRUE(config.ok()) << config.error().message;
    const auto block = gen.at("block_length").get<int32_t>();
    config->attention_block = block;
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

}  // namespace
}  // namespace unmask
