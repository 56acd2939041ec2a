#include "unmask/checkpoint/retrofit.h"

#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/hugging_face.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using Selection = RoutingPolicy::Selection;

ModelConfig small_teacher(Family family) {
  ModelConfig config;
  config.family = family;
  config.vocab_size = 19;
  config.mask_token = 18;
  config.layers = 2;
  config.hidden = 16;
  config.heads = config.kv_heads = 2;
  config.head_dim = 8;
  config.experts = 8;
  config.expert_ffn = 8;
  config.shared_ffn = family == Family::llada_moe ? 0 : 8;
  config.shared_experts = family == Family::llada_moe ? 0 : 1;
  config.expert_bias = family == Family::llada2;
  config.routing.experts_per_token = 3;
  if (family == Family::llada2) {
    config.routing.weights = RoutingPolicy::Weights::sigmoid;
    config.routing.groups = RoutingPolicy::Groups{.count = 4, .keep = 2};
    config.routing.scale = 2.5f;
    config.attention_block = 32;
  }
  return config;
}

RoutingPolicy expert_choice() {
  RoutingPolicy policy;
  policy.policy = Selection::expert_choice;
  policy.experts_per_token = 3;
  policy.capacity = RoutingPolicy::Capacity{
      .schedule = RoutingPolicy::Capacity::Schedule::linear_reverse, .min = 2, .max = 4};
  return policy;
}

RoutingPolicy block_experts(RoutingPolicy of) {
  of.policy = Selection::block_experts;
  of.block = {.size = 8, .p = 0.5, .coreset_min = 4};
  return of;
}

TEST(Retrofit, KeepsWeightsAndChangesTheRoutingOfEveryFamily) {
  for (const Family family : {Family::unmask, Family::llada2, Family::llada_moe}) {
    SCOPED_TRACE(static_cast<int>(family));
    const test::TemporaryDirectory directory;
    const std::string from = directory.path("from");
    fs::create_directories(from + "/training_state");
    const ModelConfig config = small_teacher(family);
    const ParameterLayout layout(config);
    const Parameters saved(layout);
    initialize(saved, 3);
    ASSERT_TRUE(save_model(from, config, saved).ok());
    directory.write("from/tokenizer.json", "the tokenizer");
    directory.write("from/generation_config.json", R"({"eos_token_id": [5, 7]})");
    directory.write("from/training_state/state.json", "{}");

    int number = 0;
    for (const RoutingPolicy& policy : {expert_choice(), block_experts(config.routing)}) {
      const std::string out = directory.path("out" + std::to_string(number++));
      const Status status = retrofit(from, out, policy);
      ASSERT_TRUE(status.ok()) << status.error().message;

      ModelConfig expected = config;
      expected.routing = policy;
      expected.other_end_tokens = {5, 7};
      const auto written = load_model_config(out);
      ASSERT_TRUE(written.ok()) << written.error().message;
      EXPECT_EQ(*written, expected);
      const Parameters loaded(layout);
      ASSERT_TRUE(load_parameters(out, *written, loaded).ok());
      EXPECT_TRUE(std::ranges::equal(loaded.flat(), saved.flat()));
      EXPECT_EQ(*read_file(out + "/tokenizer.json"), "the tokenizer");
      EXPECT_EQ(fs::hard_link_count(out + "/model.safetensors"),
                static_cast<uintmax_t>(number + 1));
      EXPECT_EQ(fs::hard_link_count(out + "/tokenizer.json"), 1u) << "people edit these";
      EXPECT_FALSE(fs::exists(out + "/training_state"));
    }
    EXPECT_EQ(load_model_config(from)->routing, config.routing)
        << "what it was made of is untouched";
  }
}

// A released configuration has no section of ours, and keys that we do not read.
TEST(Retrofit, KeepsForeignKeysOfTheConfiguration) {
  const test::TemporaryDirectory directory;
  const std::string from = directory.path("from");
  fs::create_directories(from);
  const ModelConfig config = small_teacher(Family::llada2);
  const ParameterLayout layout(config);
  const Parameters parameters(layout);
  ASSERT_TRUE(save_model(from, config, parameters).ok());
  nlohmann::json document = *read_json_file(from + "/config.json");
  document.erase("unmask");
  document["auto_map"] = {{"AutoModel", "modeling.LLaDA2"}};
  directory.write("from/config.json", to_text(document));
  const ModelConfig released = *load_model_config(from);

  // Files of a Hugging Face cache are relative links.
  fs::rename(from + "/model.safetensors", directory.path("blob"));
  fs::create_symlink("../blob", from + "/model.safetensors");

  const std::string out = directory.path("deep");
  const RoutingPolicy policy = block_experts(released.routing);
  const Status status = retrofit(from, out, policy);
  ASSERT_TRUE(status.ok()) << status.error().message;
  nlohmann::json written = *read_json_file(out + "/config.json");
  EXPECT_EQ(load_model_config(out)->routing, policy);
  EXPECT_EQ(load_model_config(out)->attention_block, 32);
  EXPECT_FALSE(fs::is_symlink(out + "/model.safetensors"));
  written.erase("unmask");
  EXPECT_EQ(written, document);
}

TEST(Retrofit, RefusesWhatDoesNotFitAndLeavesNothing) {
  const test::TemporaryDirectory directory;
  const std::string from = directory.path("from"), out = directory.path("out");
  fs::create_directories(from);
  const ModelConfig config = small_teacher(Family::llada_moe);
  const ParameterLayout layout(config);
  const Parameters parameters(layout);
  ASSERT_TRUE(save_model(from, config, parameters).ok());

  RoutingPolicy many = expert_choice();
  many.experts_per_token = 9;
  const Status refused = retrofit(from, out, many);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, Error::Kind::usage);
  EXPECT_NE(refused.error().message.find("1 to 8"), std::string::npos) << refused.error().message;
  EXPECT_FALSE(fs::exists(out));

  ASSERT_TRUE(retrofit(from, out, expert_choice()).ok());
  const Status again = retrofit(from, out, expert_choice());
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.error().message.find("exists"), std::string::npos);
  EXPECT_FALSE(retrofit(directory.path("none"), directory.path("other"), expert_choice()).ok());

  nlohmann::json narrower = *read_json_file(from + "/config.json");
  narrower["num_experts"] = 4;
  directory.write("from/config.json", to_text(narrower));
  const Status unfitting = retrofit(from, directory.path("other"), expert_choice());
  ASSERT_FALSE(unfitting.ok());
  EXPECT_NE(unfitting.error().message.find("unexpected"), std::string::npos)
      << unfitting.error().message;
}

}  // namespace
}  // namespace unmask
