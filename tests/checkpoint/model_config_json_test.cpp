#include "unmask/checkpoint/model_config_json.h"

#include "tests/support/golden.h"
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "unmask/base/document.h"
#include "unmask/base/json_text.h"
#include "unmask/model/published_models.h"

namespace unmask {
namespace {

using nlohmann::json;

// LLaDA2.0-mini as released: what the file leaves out is left out here.
json llada2_mini() {
  return json_in(R"({
    "architectures": ["LLaDA2MoeModelLM"], "model_type": "llada2_moe", "num_hidden_layers": 20,
    "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128,
    "intermediate_size": 5120, "moe_intermediate_size": 512, "num_experts": 256,
    "num_experts_per_tok": 8, "num_shared_experts": 1, "n_group": 8, "topk_group": 4,
    "first_k_dense_replace": 1, "routed_scaling_factor": 2.5, "partial_rotary_factor": 0.5,
    "rope_theta": 600000, "rms_norm_eps": 1e-6, "vocab_size": 157184, "rope_scaling": null,
    "tie_word_embeddings": false, "norm_topk_prob": true, "sliding_window": 4096})");
}

// LLaDA2.2 of the size of `released`; the keys of groups are still there.
json llada2_2(json released) {
  released.update({{"block_size", 32},
                   {"expert_capacity", 48},
                   {"delete_token_id", 156930},
                   {"split_token_id", 156931},
                   {"eos_token_id", {156892, 156900}},
                   {"max_position_embeddings", 131072},
                   {"rope_theta", 3000000},
                   {"use_qk_norm", true}});
  return released;
}

json llada_moe() {
  return json_in(R"({
    "architectures": ["LLaDAMoEModelLM"], "model_type": "llada", "num_hidden_layers": 16,
    "hidden_size": 2048, "num_attention_heads": 16, "num_experts": 64, "num_experts_per_tok": 8,
    "expert_intermediate_size": 1024, "dense_intermediate_size": 8192, "rope_theta": 50000,
    "rms_norm_eps": 1e-5, "vocab_size": 157184, "qk_layernorm": true, "norm_topk_prob": null,
    "moe_layer_freq": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1], "partial_rotary_factor": 1,
    "routed_scaling_factor": 1, "shared_expert_intermediate_size": null})");
}

// SDAR-30B-A3B's sizes; what the file may leave out is left out here.
json sdar_moe() {
  return json_in(R"({
    "architectures": ["SDARMoeForCausalLM"], "model_type": "sdar_moe", "num_hidden_layers": 48,
    "hidden_size": 2048, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
    "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128,
    "num_experts_per_tok": 8, "norm_topk_prob": true, "decoder_sparse_step": 1,
    "mlp_only_layers": [], "attention_bias": false, "hidden_act": "silu", "rope_scaling": null,
    "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "vocab_size": 151936,
    "tie_word_embeddings": false, "use_sliding_window": false, "sliding_window": null})");
}

ModelConfig read(const json& document) {
  const auto config = model_config_from_json(document, "config.json");
  EXPECT_TRUE(config.ok()) << (config.ok() ? "" : config.error().message);
  return config.ok() ? *config : ModelConfig{};
}

TEST(ModelConfigJson, ReadsLlada2) {
  const ModelConfig c = read(llada2_mini());
  EXPECT_EQ(c.family, Family::llada2);
  EXPECT_EQ(c.layers, 20);
  EXPECT_EQ(c.hidden, 2048);
  EXPECT_EQ(c.kv_heads, 4);
  EXPECT_EQ(c.rope_dims(), 64);
  EXPECT_EQ(c.dense_layers, 1);
  EXPECT_EQ(c.dense_ffn, 5120);
  EXPECT_EQ(c.expert_ffn, 512);
  EXPECT_EQ(c.shared_ffn, 512);
  EXPECT_EQ(c.mask_token, 156895);
  EXPECT_EQ(c.end_token, 156892);
  EXPECT_EQ(c.pad_token, 156892);
  EXPECT_TRUE(c.qk_norm);
  EXPECT_TRUE(c.expert_bias);
  EXPECT_EQ(c.rope_theta, 600000.0f);
  EXPECT_EQ(c.norm_epsilon, 1e-6f);
  EXPECT_EQ(c.routing.policy, RoutingPolicy::Selection::token_choice);
  EXPECT_EQ(c.routing.weights, RoutingPolicy::Weights::sigmoid);
  EXPECT_TRUE(c.routing.renormalize);
  EXPECT_EQ(c.routing.scale, 2.5f);
  EXPECT_EQ(c.routing.groups, (RoutingPolicy::Groups{8, 4}));

  json merged = llada2_mini();
  merged.erase("architectures");
  merged["model_type"] = "llada2_moe_veomni";
  EXPECT_EQ(read(merged), c);
}

TEST(ModelConfigJson, ReadsTheRoutingOfDMoE) {
  json document = llada2_mini();
  document.update({{"mode", "aggregate"}, {"core_threshold", 0.7}});
  ModelConfig expected = read(llada2_mini());
  expected.routing.policy = RoutingPolicy::Selection::block_experts;
  expected.routing.block = {.size = 32, .p = 0.7, .coreset_min = 16};
  EXPECT_EQ(read(document), expected);
}

TEST(ModelConfigJson, ReadsLlada22) {
  json document = llada2_2(llada2_mini());
  const ModelConfig c = read(document);
  EXPECT_EQ(c.routing.policy, RoutingPolicy::Selection::block_routing);
  EXPECT_EQ(c.routing.block.size, 32);
  EXPECT_EQ(c.routing.block.pool, 48);
  EXPECT_FALSE(c.routing.groups) << "the keys are there, but its code has none";
  EXPECT_EQ(c.delete_token, 156930);
  EXPECT_EQ(c.insert_token, 156931);
  EXPECT_TRUE(c.ends(156900));
  json written = model_config_to_json(c);
  written.erase("unmask");
  EXPECT_EQ(read(written), c);

  document["block_size"] = 64;
  EXPECT_EQ(read(document).routing.block.size, 64);
  EXPECT_EQ(read(document).attention_block, 64);
  document["expert_capacity"] = 0;  // as if it were not there
  EXPECT_EQ(read(document).routing.policy, RoutingPolicy::Selection::token_choice);
  EXPECT_EQ(read(document).routing.groups, (RoutingPolicy::Groups{8, 4}));
}

TEST(ModelConfigJson, ReadsLladaMoe) {
  const ModelConfig c = read(llada_moe());
  EXPECT_EQ(c.family, Family::llada_moe);
  EXPECT_EQ(c.kv_heads, 16);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_EQ(c.dense_layers, 0);
  EXPECT_EQ(c.expert_ffn, 1024);
  EXPECT_EQ(c.shared_ffn, 0);
  EXPECT_EQ(c.rope_dims(), 128);
  EXPECT_EQ(c.norm_epsilon, 1e-5f);
  EXPECT_EQ(c.attention_block, 0);
  EXPECT_FALSE(c.expert_bias);
  EXPECT_EQ(c.routing.weights, RoutingPolicy::Weights::softmax_before);
  EXPECT_FALSE(c.routing.renormalize);
  EXPECT_EQ(c.routing.scale, 1.0f);
  EXPECT_FALSE(c.routing.groups.has_value());
}

TEST(ModelConfigJson, ReadsSdarMoe) {
  const ModelConfig c = read(sdar_moe());
  EXPECT_EQ(c.family, Family::sdar_moe);
  EXPECT_EQ(c.kv_heads, 4);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_EQ(c.rope_dims(), 128);
  EXPECT_EQ(c.dense_layers, 0);
  EXPECT_EQ(c.expert_ffn, 768);
  EXPECT_EQ(c.shared_ffn, 0);
  EXPECT_TRUE(c.qk_norm);
  EXPECT_FALSE(c.qkv_bias);
  EXPECT_EQ(c.attention_block, 4);
  EXPECT_EQ(c.mask_token, 151669);
  EXPECT_EQ(c.end_token, 151643);
  EXPECT_EQ(c.routing.weights, RoutingPolicy::Weights::softmax_before);
  EXPECT_TRUE(c.routing.renormalize);

  json other = sdar_moe();
  other["block_size"] = 16;
  other["mlp_only_layers"] = {0, 1};
  EXPECT_EQ(read(other).attention_block, 16);
  EXPECT_EQ(read(other).dense_layers, 2);
  EXPECT_EQ(read(other).dense_ffn, 6144);
  other["mlp_only_layers"] = {1};
  EXPECT_FALSE(model_config_from_json(other, "x").ok());
  other = sdar_moe();
  other["decoder_sparse_step"] = 2;
  EXPECT_FALSE(model_config_from_json(other, "x").ok());
  other = sdar_moe();
  other["use_sliding_window"] = true;
  EXPECT_FALSE(model_config_from_json(other, "x").ok());
}

TEST(ModelConfigJson, ReadsTheConfigurationsOfRecordings) {
  for (const char* kind : {"forward", "train"}) {
    for (const test::GoldenCase& one : test::golden_cases(kind)) {
      const auto config = model_config_from_json(one.config().at("hf_config"), one.name());
      ASSERT_TRUE(config.ok()) << config.error().message;
      EXPECT_EQ(config->mask_token, one.config().at("mask_id"));
      EXPECT_EQ(config->layers, one.config().at("hf_config").at("num_hidden_layers"));
    }
  }
}

TEST(ModelConfigJson, WritesWhatItReads) {
  ModelConfig own;
  own.vocab_size = 300;
  own.norm_epsilon = 1.7e-7f;
  own.init_std = 0.013f;
  own.rope_theta = 12345.67f;
  own.rope_fraction = 0.25f;
  own.shared_ffn = 77;
  own.shared_experts = 3;
  own.tied_head = true;
  own.linear_bias = true;
  own.qk_norm = false;
  own.end_token = 256;
  own.pad_token = 257;
  own.mask_token = 299;
  own.attention_block = 16;
  own.routing.policy = RoutingPolicy::Selection::expert_choice;
  own.routing.experts_per_token = 4;
  own.routing.capacity.emplace(RoutingPolicy::Capacity::Schedule::linear_reverse, 2, 8);
  own.routing.monte_carlo = true;
  own.routing.balance.z_loss = 1e-3f;
  ModelConfig biased = read(llada_moe());
  biased.qkv_bias = true;  // and no bias at the output
  for (const ModelConfig& config : {own, read(llada2_mini()), read(llada2_2(llada2_mini())),
                                    read(llada_moe()), read(sdar_moe()), biased}) {
    const json written = model_config_to_json(config);
    EXPECT_EQ(read(written), config) << to_text(written, 1);
    EXPECT_EQ(read(json_in(to_text(written))), config);
  }
  EXPECT_NE(to_text(model_config_to_json(read(llada2_mini()))).find("1e-06"), std::string::npos);
}

// What the other keys say without the section of our own.
TEST(ModelConfigJson, WritesTheWidthAndTheScoresThatTheFamilyReads) {
  ModelConfig config = read(llada2_mini());
  config.expert_ffn = 64;
  config.shared_ffn = 128;
  config.shared_experts = 1;
  for (const auto weights : {RoutingPolicy::Weights::softmax, RoutingPolicy::Weights::sigmoid,
                             RoutingPolicy::Weights::softmax_before}) {
    config.routing.weights = weights;
    config.routing.groups.reset();  // of sigmoid scores alone
    config.routing.renormalize = weights != RoutingPolicy::Weights::softmax_before;
    json written = model_config_to_json(config);
    EXPECT_EQ(read(written), config);
    written.erase("unmask");
    EXPECT_EQ(written["num_shared_experts"], 2);
    const ModelConfig plain = read(written);
    EXPECT_EQ(plain.shared_ffn, 128);
    EXPECT_EQ(plain.routing, config.routing) << written["score_function"];
  }
}

TEST(ModelConfigJson, TheMaskOfASmallVocabularyIsNotItsEnd) {
  for (const auto& [mask, end] : {std::pair{99, 98}, {98, 99}, {5, 98}}) {
    json config = llada2_mini();
    config["vocab_size"] = 100;
    config["mask_token_id"] = mask;
    config.erase("eos_token_id");
    EXPECT_EQ(read(config).mask_token, mask);
    EXPECT_EQ(read(config).end_token, end);
  }
}

TEST(ModelConfigJson, NoSharedExpertsAreNotSharedExpertsOfAnyWidth) {
  ModelConfig config = read(llada2_mini());
  config.family = Family::llada_moe;
  EXPECT_TRUE(model_config_to_json(config)["shared_expert_intermediate_size"].is_null());
}

TEST(ModelConfigJson, ReadsRopeFromWhereNewerFilesHaveIt) {
  for (const char* table : {"rope_scaling", "rope_parameters"}) {
    json document = llada2_mini();
    document[table] = {
        {"rope_type", "default"}, {"factor", 1.0}, {"type", nullptr}, {"attention_factor", 1.0}};
    EXPECT_EQ(read(document), read(llada2_mini()));
    document.erase("rope_theta");
    document.erase("partial_rotary_factor");
    document[table].update({{"rope_theta", 100}, {"partial_rotary_factor", 0.25}});
    EXPECT_EQ(read(document).rope_theta, 100);
    EXPECT_EQ(read(document).rope_fraction, 0.25f);
  }
}

TEST(ModelConfigJson, WithoutPaddingTheEndPads) {
  json document = llada2_mini();
  document["pad_token_id"] = -1;
  EXPECT_EQ(read(document).pad_token, read(document).end_token);
}

TEST(ModelConfigJson, AnyOfSeveralEndTokensEnds) {
  json document = llada2_mini();
  document["eos_token_id"] = {7, 8, 9};
  const ModelConfig config = read(document);
  EXPECT_EQ(config.end_token, 7);
  EXPECT_EQ(config.other_end_tokens, (std::vector<int32_t>{8, 9}));
  EXPECT_TRUE(config.ends(7) && config.ends(9) && !config.ends(10));
  EXPECT_EQ(read(model_config_to_json(config)), config);
}

TEST(ModelConfigJson, RefusesWhatItCannotCompute) {
  struct Case {
    json change;
    std::vector<std::string> words;
  };
  const std::vector<Case> cases = {
      {{{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}},
       {"LLaDA2MoeModelLM", "LlamaForCausalLM"}},
      {{{"hidden_act", "gelu"}}, {"hidden_act", "silu", "gelu"}},
      {{{"norm_head", true}}, {"norm_head", "false", "true"}},
      {{{"rope_scaling", {{"type", "yarn"}}}}, {"rope_scaling.type", "default", "yarn"}},
      {{{"rope_scaling", {{"factor", 4}}}}, {"rope_scaling.factor"}},
      {{{"rope_scaling", {{"long_factor", {1, 2}}}}}, {"rope_scaling.long_factor"}},
      {{{"rope_parameters", {{"full_attention", {{"rope_type", "yarn"}}}}}},
       {"rope_parameters.full_attention"}},
      {{{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 4}}}},
       {"rope_parameters.rope_type", "default", "yarn"}},
      {{{"score_function", "tanh"}}, {"score_function", "sigmoid", "tanh"}},
      {{{"max_position_embeddings", 1 << 24}}, {"max_positions", "(here 64)", "268435456"}},
      {{{"hidden_size", "wide"}}, {"hidden_size", "integer", "wide"}},
      {{{"hidden_size", 1e30}}, {"hidden_size", "integer"}},
      {{{"hidden_size", nullptr}}, {"hidden_size"}},
      {{{"num_shared_experts", 2000000000}}, {"num_shared_experts"}},
      {{{"num_experts", 2147483647}}, {"experts", "16384"}},
      {{{"n_group", 7}}, {"groups.count", "256", "7"}},
      {{{"num_attention_heads", 0}}, {"heads = 0"}},
      {{{"num_key_value_heads", 3}}, {"kv_heads = 3", "heads (16)"}},
      {{{"unmask", {{"format", 2}}}}, {"unmask.format", "newer"}},
      {{{"unmask", {{"format", 1}, {"atention_block", 8}}}}, {"atention_block", "attention_block"}},
      {{{"unmask", {{"format", 1}, {"routing", {{"polcy", 1}}}}}}, {"unmask.routing", "polcy"}},
      {{{"unmask", 3}}, {"unmask"}},
      {{{"expert_capacity", 4}}, {"routing.block.pool", "at least 8", "4"}},
      {{{"delete_token_id", 156930}}, {"insert_token"}},
      {{{"delete_token_id", 156930}, {"split_token_id", 156930}}, {"delete_token", "156930"}},
      {{{"delete_token_id", 156930}, {"split_token_id", 156895}}, {"insert_token", "156895"}},
      {{{"delete_token_id", 156892}, {"split_token_id", 156931}}, {"delete_token", "156892"}},
      {{{"delete_token_id", 156930}, {"split_token_id", 157184}}, {"insert_token", "157184"}},
      {{{"core_threshold", 0.6}, {"mode", "sum"}}, {"mode", "aggregate", "sum"}},
      {{{"quantization", {{"bits", 4}}}}, {"quantization", "BF16"}},
      {{{"quantization_config", {{"quant_method", "fp8"}}}}, {"quantization_config", "BF16"}},
  };
  for (const Case& one : cases) {
    json document = llada2_mini();
    document.update(one.change);
    const auto config = model_config_from_json(document, "somewhere/config.json");
    ASSERT_FALSE(config.ok()) << one.change;
    EXPECT_EQ(config.error().kind, Error::Kind::usage);
    EXPECT_NE(config.error().message.find("somewhere/config.json"), std::string::npos)
        << config.error().message;
    for (const std::string& word : one.words) {
      EXPECT_NE(config.error().message.find(word), std::string::npos)
          << word << " not in: " << config.error().message;
    }
  }
  EXPECT_FALSE(model_config_from_json(json::array(), "x").ok());
  EXPECT_FALSE(model_config_from_json(nullptr, "x").ok());
  json dense_between = llada_moe();
  dense_between["moe_layer_freq"][3] = 0;
  EXPECT_FALSE(model_config_from_json(dense_between, "x").ok());
  json short_of_one = llada_moe();
  short_of_one["moe_layer_freq"].erase(0);
  EXPECT_FALSE(model_config_from_json(short_of_one, "x").ok());
  for (const char* key : {"clip_qkv", "router_num_group", "shared_expert_intermediate_size"}) {
    json other = llada_moe();
    other[key] = 4;
    EXPECT_FALSE(model_config_from_json(other, "x").ok()) << key;
  }
  json biased = llada_moe();
  biased["moe_router_enable_expert_bias"] = true;
  EXPECT_FALSE(model_config_from_json(biased, "x").ok()) << "its code adds it elsewhere";
  json fused = llada_moe();
  fused["architectures"] = {"FusedLLaDAMoEModelLM"};
  EXPECT_EQ(read(fused), read(llada_moe()));
}

TEST(PublishedModels, AreWhatTheirConfigurationsSay) {
  json mini = llada2_mini();
  mini["max_position_embeddings"] = 32768;
  json flash = mini;
  flash.update({{"num_hidden_layers", 32},
                {"hidden_size", 4096},
                {"num_attention_heads", 32},
                {"intermediate_size", 9216},
                {"moe_intermediate_size", 1024}});
  json moe = llada_moe();
  moe["max_position_embeddings"] = 8192;
  const std::vector<std::pair<std::string, json>> released = {{"llada2-mini", mini},
                                                              {"llada2-flash", flash},
                                                              {"llada2.2-mini", llada2_2(mini)},
                                                              {"llada2.2-flash", llada2_2(flash)},
                                                              {"llada-moe", moe}};
  std::vector<std::string> names;
  for (const auto& [name, document] : released) {
    names.push_back(name);
    const auto config = model_config_from_json(document, name);
    ASSERT_TRUE(config.ok()) << config.error().message;
    const auto model = published_model(name);
    ASSERT_TRUE(model.ok()) << model.error().message;
    EXPECT_EQ(*model, *config) << to_text(model_config_to_json(*model)) << "\n"
                               << to_text(model_config_to_json(*config));
  }
  EXPECT_EQ(published_names(), fmt::format("{}", fmt::join(names, ", ")));
}

}  // namespace
}  // namespace unmask
