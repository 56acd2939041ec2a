#include <algorithm>
#include <optional>
#include <vector>

#include "unmask/base/document.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/model_config_json.h"
#include "unmask/model/published_models.h"
#include "unmask/routing/policy_json.h"

namespace unmask {
namespace {

using nlohmann::json;

constexpr int32_t kLlada2Block = 32;  // trained block-causal with blocks of this size

// <|MASK|> and <|endoftext|> of SDAR, whose tokenizer is Qwen3's.
constexpr int32_t kSdarMask = 151669;
constexpr int32_t kSdarEnd = 151643;
constexpr int32_t kSdarBlock = 4;

void refuse_unless(bool computed, Fields& fields, const char* key, const char* expected) {
  if (!computed) fields.refuse(key, expected);
}

// A flag that must have one value, which is also its default.
void expect_flag(Fields& fields, const char* key, bool expected) {
  bool value = expected;
  fields.read(key, value);
  refuse_unless(value == expected, fields, key, expected ? "true" : "false");
}

void expect_word(Fields& fields, const char* key, const char* expected) {
  std::string value = expected;
  fields.read(key, value);
  refuse_unless(value == expected, fields, key, expected);
}

// A token, or a list of them, of which the first is the one.
void read_token(Fields& fields, const char* key, int32_t& token, std::vector<int32_t>& others) {
  const json* found = fields.find(key);
  if (found == nullptr || !found->is_array()) {
    fields.read(key, token);
    return;
  }
  std::vector<int32_t> tokens;
  if (!fields.read(key, tokens) || tokens.empty()) return;
  token = tokens.front();
  others.assign(tokens.begin() + 1, tokens.end());
}

void read_tokens(Fields& fields, int32_t released_mask, int32_t released_end, ModelConfig& config) {
  // A tiny model of the family keeps its specials at the end of its vocabulary.
  const bool released = config.vocab_size > released_mask;
  const int32_t last = config.vocab_size - 1;
  config.mask_token = released ? released_mask : last;
  fields.read("mask_token_id", config.mask_token);
  config.end_token = released ? released_end : config.mask_token == last - 1 ? last : last - 1;
  read_token(fields, "eos_token_id", config.end_token, config.other_end_tokens);
  config.pad_token = config.end_token;
  std::vector<int32_t> ignored;
  read_token(fields, "pad_token_id", config.pad_token, ignored);
  if (config.pad_token < 0) config.pad_token = config.end_token;  // -1: none
  fields.read("delete_token_id", config.delete_token);
  fields.read("split_token_id", config.insert_token);
}

// Older files say it in keys of their own and in rope_scaling, newer ones in rope_parameters.
void read_rope(Fields& fields, ModelConfig& config) {
  const auto read_angles = [&](Fields& from) {
    from.read("rope_theta", config.rope_theta);
    from.read("partial_rotary_factor", config.rope_fraction);
  };
  read_angles(fields);
  for (const char* table : {"rope_scaling", "rope_parameters"}) {
    fields.table(table, [&](Fields& rope) {
      expect_word(rope, "rope_type", "default");
      expect_word(rope, "type", "default");
      double factor = 1;
      rope.read("factor", factor);
      refuse_unless(factor == 1, rope, "factor", "1");
      read_angles(rope);
      // A table that says its kind may hold what other kinds need.
      if (rope.has("rope_type") || rope.has("type")) rope.ignore_others();
    });
  }
}

// What all families call by the same name.
void read_transformer(Fields& fields, ModelConfig& config) {
  fields.require("vocab_size", config.vocab_size);
  fields.require("num_hidden_layers", config.layers);
  fields.require("hidden_size", config.hidden);
  fields.require("num_attention_heads", config.heads);
  config.kv_heads = config.heads;
  fields.read("num_key_value_heads", config.kv_heads);
  config.head_dim = config.heads > 0 ? config.hidden / config.heads : 0;
  fields.read("head_dim", config.head_dim);
  fields.read("max_position_embeddings", config.max_positions);
  fields.read("rms_norm_eps", config.norm_epsilon);
  read_rope(fields, config);
  fields.read("tie_word_embeddings", config.tied_head);
  fields.read("initializer_range", config.init_std);
  expect_word(fields, "hidden_act", "silu");
}

// dMoE's class of LLaDA2 routes by the votes of a block, and says so with these keys; its code has
// the sizes of the block and of the smallest coreset.
void read_block_experts(Fields& fields, RoutingPolicy& routing) {
  if (!fields.read("core_threshold", routing.block.p)) return;
  expect_word(fields, "mode", "aggregate");
  routing.policy = RoutingPolicy::Selection::block_experts;
}

// LLaDA2.2 takes the experts of a block from a pool of this size; its code then looks at no groups,
// whose keys are still there, and at whole blocks of `block_size`.
void read_block_routing(Fields& fields, ModelConfig& config) {
  int32_t capacity = 0;
  if (!fields.read_between("expert_capacity", capacity, 0) || capacity == 0) return;
  config.routing.policy = RoutingPolicy::Selection::block_routing;
  config.routing.groups.reset();
  config.routing.block.pool = capacity;
  fields.read_between("block_size", config.attention_block, 1);
  config.routing.block.size = config.attention_block;
}

ModelConfig read_llada2(Fields& fields) {
  ModelConfig config;
  config.family = Family::llada2;
  config.rope_theta = 600000;
  config.rope_fraction = 0.5f;
  config.attention_block = kLlada2Block;
  read_transformer(fields, config);
  read_tokens(fields, kLlada2Mask, kLlada2End, config);
  config.qk_norm = true;
  fields.read("use_qk_norm", config.qk_norm);
  fields.read("use_qkv_bias", config.qkv_bias);
  fields.read("use_bias", config.linear_bias);
  expect_flag(fields, "norm_head", false);
  expect_flag(fields, "use_rmsnorm", true);
  expect_flag(fields, "using_split_qkv_in_self_attention", false);

  fields.read("first_k_dense_replace", config.dense_layers);
  fields.read("intermediate_size", config.dense_ffn);
  fields.require("num_experts", config.experts);
  fields.require("moe_intermediate_size", config.expert_ffn);
  config.shared_experts = 0;
  fields.read("num_shared_experts", config.shared_experts);
  config.shared_ffn = 0;
  if (__builtin_mul_overflow(config.shared_experts, config.expert_ffn, &config.shared_ffn)) {
    fields.refuse("num_shared_experts", "a number of experts");
  }
  config.expert_bias = true;
  fields.read("moe_router_enable_expert_bias", config.expert_bias);

  RoutingPolicy& routing = config.routing;
  routing.policy = RoutingPolicy::Selection::token_choice;
  routing.renormalize = true;
  routing.scale = 2.5f;
  fields.require("num_experts_per_tok", routing.experts_per_token);
  fields.read("norm_topk_prob", routing.renormalize);
  routing.weights = RoutingPolicy::Weights::sigmoid;
  const auto softmax = routing.renormalize ? RoutingPolicy::Weights::softmax
                                           : RoutingPolicy::Weights::softmax_before;
  fields.read_enum("score_function", routing.weights,
                   {{"sigmoid", RoutingPolicy::Weights::sigmoid}, {"softmax", softmax}});
  fields.read("routed_scaling_factor", routing.scale);
  RoutingPolicy::Groups groups{.count = 8, .keep = 4};
  fields.read_between("n_group", groups.count, 1);
  fields.read("topk_group", groups.keep);
  if (groups.count > 1) routing.groups = groups;
  read_block_experts(fields, routing);
  read_block_routing(fields, config);
  return config;
}

// Per layer 0 = dense, 1 = experts; the dense ones come first.
void read_layer_kinds(Fields& fields, ModelConfig& config) {
  std::vector<int32_t> kinds;
  if (!fields.read("moe_layer_freq", kinds) || kinds.empty()) return;
  const auto first = std::find(kinds.begin(), kinds.end(), 1);
  config.dense_layers = static_cast<int32_t>(first - kinds.begin());
  const bool regular = std::all_of(kinds.begin(), first, [](int32_t kind) { return kind == 0; }) &&
                       std::all_of(first, kinds.end(), [](int32_t kind) { return kind == 1; }) &&
                       kinds.size() == static_cast<size_t>(config.layers);
  refuse_unless(regular, fields, "moe_layer_freq", "one entry per layer, zeros before ones");
}

// What LLaDA-MoE and SDAR-MoE have in common: biases of all attention or none, and experts that a
// softmax over all of them chooses, none of them shared.
void read_attention(Fields& fields, const char* norm, ModelConfig& config) {
  config.qk_norm = true;
  fields.read(norm, config.qk_norm);
  fields.read("attention_bias", config.qkv_bias);
  config.linear_bias = config.qkv_bias;
}

void read_softmax_experts(Fields& fields, bool renormalize, ModelConfig& config) {
  fields.require("num_experts", config.experts);
  fields.read("moe_router_enable_expert_bias", config.expert_bias);
  config.shared_ffn = 0;
  config.shared_experts = 0;
  RoutingPolicy& routing = config.routing;
  routing.policy = RoutingPolicy::Selection::token_choice;
  routing.weights = RoutingPolicy::Weights::softmax_before;
  routing.renormalize = renormalize;
  fields.require("num_experts_per_tok", routing.experts_per_token);
  fields.read("norm_topk_prob", routing.renormalize);
}

ModelConfig read_llada_moe(Fields& fields) {
  ModelConfig config;
  config.family = Family::llada_moe;
  config.rope_theta = 50000;
  config.norm_epsilon = 1e-5f;
  config.attention_block = 0;
  read_transformer(fields, config);
  read_tokens(fields, kLlada2Mask, kLlada2End, config);
  read_attention(fields, "qk_layernorm", config);
  refuse_unless(!fields.has("clip_qkv"), fields, "clip_qkv", "null");
  expect_word(fields, "moe_router_score_function", "softmax");

  read_layer_kinds(fields, config);
  fields.read("dense_intermediate_size", config.dense_ffn);
  fields.require("expert_intermediate_size", config.expert_ffn);
  int32_t shared = 0;
  fields.read("shared_expert_intermediate_size", shared);
  refuse_unless(shared <= 0, fields, "shared_expert_intermediate_size", "null");
  int32_t groups = 0;
  fields.read("router_num_group", groups);
  refuse_unless(groups <= 1, fields, "router_num_group", "null");
  read_softmax_experts(fields, /*renormalize=*/false, config);
  // The family's own code adds it to probabilities, also to those that weigh the experts.
  refuse_unless(!config.expert_bias || fields.has("unmask"), fields,
                "moe_router_enable_expert_bias", "false");
  fields.read("routed_scaling_factor", config.routing.scale);
  return config;
}

// The dense layers, which come first here.
void read_dense_layers(Fields& fields, ModelConfig& config) {
  std::vector<int32_t> dense;
  if (!fields.read("mlp_only_layers", dense)) return;
  bool first = true;
  for (size_t i = 0; i < dense.size(); ++i) first &= dense[i] == static_cast<int32_t>(i);
  refuse_unless(first, fields, "mlp_only_layers", "the first layers, [0, 1, …], or none");
  config.dense_layers = static_cast<int32_t>(dense.size());
}

ModelConfig read_sdar_moe(Fields& fields) {
  ModelConfig config;
  config.family = Family::sdar_moe;
  config.rope_theta = 1000000;
  config.attention_block = kSdarBlock;
  read_transformer(fields, config);
  read_tokens(fields, kSdarMask, kSdarEnd, config);
  fields.read_between("block_size", config.attention_block, 1);
  read_attention(fields, "use_qk_norm", config);
  expect_flag(fields, "use_sliding_window", false);
  int32_t sparse_step = 1;
  fields.read("decoder_sparse_step", sparse_step);
  refuse_unless(sparse_step == 1, fields, "decoder_sparse_step", "1");

  read_dense_layers(fields, config);
  fields.read("intermediate_size", config.dense_ffn);
  fields.require("moe_intermediate_size", config.expert_ffn);
  read_softmax_experts(fields, /*renormalize=*/true, config);
  return config;
}

void read_unmask_section(Fields& section, ModelConfig& config, const std::string& where) {
  int format = 0;
  section.require("format", format);
  refuse_unless(format == kConfigFormat, section, "format",
                "1: the checkpoint was written by a newer version");
  section.read_enum("family", config.family, kFamilies);
  section.read("shared_ffn", config.shared_ffn);
  section.read("shared_experts", config.shared_experts);
  section.read("attention_block", config.attention_block);
  section.read("linear_bias", config.linear_bias);
  if (const json* routing = section.find("routing")) {
    auto policy = policy_from_json(*routing, "unmask.routing", where);
    if (policy.ok()) {
      config.routing = std::move(policy).value();
    } else {
      section.fail(policy.error());
    }
  }
}

std::optional<Family> find_family(const json& document) {
  const auto is_one_of = [](const json& name, std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [&](const char* n) { return name == n; });
  };
  json names = json::array();
  if (document.contains("architectures") && document["architectures"].is_array()) {
    names = document["architectures"];
  }
  if (document.contains("model_type")) names.push_back(document["model_type"]);
  for (const json& name : names) {
    if (is_one_of(name, {"LLaDA2MoeModelLM", "llada2_moe", "llada2_moe_veomni"})) {
      return Family::llada2;
    }
    if (is_one_of(name, {"LLaDAMoEModelLM", "LLaDAMoEModel", "FusedLLaDAMoEModelLM", "lladamoe"})) {
      return Family::llada_moe;
    }
    if (is_one_of(name, {"SDARMoeForCausalLM", "SDARMoeModelLM", "sdar_moe"})) {
      return Family::sdar_moe;
    }
  }
  return std::nullopt;
}

// Null means the default, also in the tables for positions.
json without_nulls(const json& table) {
  json present = json::object();
  for (const auto& [key, value] : table.items()) {
    if (value.is_null()) continue;
    present[key] = value.is_object() && key != "unmask" ? without_nulls(value) : value;
  }
  return present;
}

// Such weights are no numbers by themselves.
void refuse_quantized(Fields& fields) {
  for (const char* key : {"quantization", "quantization_config"}) {
    refuse_unless(!fields.has(key), fields, key, "none: weights in BF16, F16 or F32");
  }
}

ModelConfig read_family(Family family, Fields& fields) {
  switch (family) {
    case Family::llada_moe:
      return read_llada_moe(fields);
    case Family::sdar_moe:
      return read_sdar_moe(fields);
    case Family::llada2:
    case Family::unmask:
      break;
  }
  return read_llada2(fields);
}

}  // namespace

Result<ModelConfig> model_config_from_json(const json& document, const std::string& where) {
  const auto family = find_family(document);
  if (!family) {
    return usage_error(
        "{}: expected a model of architecture LLaDA2MoeModelLM, LLaDAMoEModelLM or "
        "SDARMoeForCausalLM, found {}",
        where,
        document.is_object() && document.contains("architectures")
            ? to_text(document["architectures"])
            : "none");
  }
  const json present = without_nulls(document);
  Fields fields(present, "", where);
  refuse_quantized(fields);
  ModelConfig config = read_family(*family, fields);
  fields.table("unmask", [&](Fields& section) { read_unmask_section(section, config, where); });
  fields.ignore_others();
  UNMASK_TRY_STATUS(fields.finish());
  if (const Status status = validate(config); !status) {
    return usage_error("{}: {}", where, status.error().message);
  }
  return config;
}

}  // namespace unmask
