#include <algorithm>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "unmask/base/check.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/model_config_json.h"
#include "unmask/routing/policy_json.h"

namespace unmask {
namespace {

using nlohmann::json;

json end_tokens(const ModelConfig& config) {
  if (config.other_end_tokens.empty()) return config.end_token;
  json all = {config.end_token};
  for (const int32_t token : config.other_end_tokens) all.push_back(token);
  return all;
}

std::string_view family_name(Family family) {
  for (const auto& [name, named] : kFamilies) {
    if (named == family) return name;
  }
  check_failed("a family has no name", __FILE__, __LINE__);
}

// As many experts as are of the stored width together, which that form says with no other key.
int32_t shared_experts_by_width(const ModelConfig& c) {
  const bool whole = c.expert_ffn > 0 && c.shared_ffn % c.expert_ffn == 0;
  return whole ? c.shared_ffn / c.expert_ffn : c.shared_experts;
}

void add_llada2(const ModelConfig& c, json& out) {
  out["architectures"] = {"LLaDA2MoeModelLM"};
  out["model_type"] = "llada2_moe";
  out["intermediate_size"] = c.dense_ffn;
  out["first_k_dense_replace"] = c.dense_layers;
  out["moe_intermediate_size"] = c.expert_ffn;
  out["num_shared_experts"] = shared_experts_by_width(c);
  out["moe_router_enable_expert_bias"] = c.expert_bias;
  out["use_qk_norm"] = c.qk_norm;
  out["use_qkv_bias"] = c.qkv_bias;
  out["use_bias"] = c.linear_bias;
  out["score_function"] =
      c.routing.weights == RoutingPolicy::Weights::sigmoid ? "sigmoid" : "softmax";
  out["router_dtype"] = "fp32";
  out["n_group"] = c.routing.groups ? c.routing.groups->count : 1;
  out["topk_group"] = c.routing.groups ? c.routing.groups->keep : 1;
  if (c.routing.policy == RoutingPolicy::Selection::block_routing) {
    out["expert_capacity"] = c.routing.block.pool;
    out["block_size"] = c.routing.block.size;
  }
}

void add_llada_moe(const ModelConfig& c, json& out) {
  out["architectures"] = {"LLaDAMoEModelLM"};
  out["model_type"] = "lladamoe";
  out["dense_intermediate_size"] = c.dense_ffn;
  out["expert_intermediate_size"] = c.expert_ffn;
  out["shared_expert_intermediate_size"] = nullptr;  // else the family's class makes some of -1
  std::vector<int> kinds(static_cast<size_t>(c.layers), 1);
  std::fill_n(kinds.begin(), c.dense_layers, 0);
  out["moe_layer_freq"] = kinds;
  out["moe_router_enable_expert_bias"] = c.expert_bias;
  out["moe_router_score_function"] = "softmax";
  out["qk_layernorm"] = c.qk_norm;
  out["attention_bias"] = c.qkv_bias;
}

void add_sdar_moe(const ModelConfig& c, json& out) {
  out["architectures"] = {"SDARMoeForCausalLM"};
  out["model_type"] = "sdar_moe";
  out["intermediate_size"] = c.dense_ffn;
  out["moe_intermediate_size"] = c.expert_ffn;
  std::vector<int32_t> dense(static_cast<size_t>(c.dense_layers));
  std::iota(dense.begin(), dense.end(), 0);
  out["mlp_only_layers"] = dense;
  out["decoder_sparse_step"] = 1;
  out["moe_router_enable_expert_bias"] = c.expert_bias;
  out["use_qk_norm"] = c.qk_norm;
  out["attention_bias"] = c.qkv_bias;
  if (c.attention_block > 0) out["block_size"] = c.attention_block;
}

}  // namespace

json model_config_to_json(const ModelConfig& c, DType stored) {
  json out = {{"vocab_size", c.vocab_size},
              {"num_hidden_layers", c.layers},
              {"hidden_size", c.hidden},
              {"num_attention_heads", c.heads},
              {"num_key_value_heads", c.kv_heads},
              {"head_dim", c.head_dim},
              {"max_position_embeddings", c.max_positions},
              {"rms_norm_eps", as_written(c.norm_epsilon)},
              {"rope_theta", as_written(c.rope_theta)},
              {"rope_scaling", nullptr},
              {"partial_rotary_factor", as_written(c.rope_fraction)},
              {"tie_word_embeddings", c.tied_head},
              {"initializer_range", as_written(c.init_std)},
              {"hidden_act", "silu"},
              {"torch_dtype", stored == DType::bf16 ? "bfloat16" : "float32"},
              {"mask_token_id", c.mask_token},
              {"eos_token_id", end_tokens(c)},
              {"pad_token_id", c.pad_token},
              {"num_experts", c.experts},
              {"num_experts_per_tok", c.routing.experts_per_token},
              {"norm_topk_prob",
               c.routing.renormalize || c.routing.weights == RoutingPolicy::Weights::softmax},
              {"routed_scaling_factor", as_written(c.routing.scale)}};
  if (c.edits_blocks()) {
    out["delete_token_id"] = c.delete_token;
    out["split_token_id"] = c.insert_token;
  }
  if (c.family == Family::llada_moe) {
    add_llada_moe(c, out);
  } else if (c.family == Family::sdar_moe) {
    add_sdar_moe(c, out);
  } else {
    add_llada2(c, out);
  }
  out["unmask"] = {{"format", kConfigFormat},
                   {"family", family_name(c.family)},
                   {"shared_ffn", c.shared_ffn},
                   {"shared_experts", c.shared_experts},
                   {"attention_block", c.attention_block},
                   {"linear_bias", c.linear_bias},
                   {"routing", to_json(c.routing)}};
  return out;
}

}  // namespace unmask
