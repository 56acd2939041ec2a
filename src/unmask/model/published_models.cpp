#include "unmask/model/published_models.h"

#include <string>

#include <fmt/format.h>

namespace unmask {
namespace {

ModelConfig llada2() {
  ModelConfig config;
  config.family = Family::llada2;
  config.vocab_size = 157184;
  config.kv_heads = 4;
  config.head_dim = 128;
  config.max_positions = 32768;
  config.dense_layers = 1;
  config.experts = 256;
  config.shared_experts = 1;
  config.expert_bias = true;
  config.routing.experts_per_token = 8;
  config.routing.weights = RoutingPolicy::Weights::sigmoid;
  config.routing.scale = 2.5f;
  config.routing.groups = RoutingPolicy::Groups{.count = 8, .keep = 4};
  config.rope_theta = 600000;
  config.rope_fraction = 0.5f;
  config.mask_token = kLlada2Mask;
  config.end_token = config.pad_token = kLlada2End;
  config.attention_block = 32;
  return config;
}

ModelConfig llada2_mini() {
  ModelConfig config = llada2();
  config.layers = 20;
  config.hidden = 2048;
  config.heads = 16;
  config.dense_ffn = 5120;
  config.expert_ffn = config.shared_ffn = 512;
  return config;
}

ModelConfig llada2_flash() {
  ModelConfig config = llada2();
  config.layers = 32;
  config.hidden = 4096;
  config.heads = 32;
  config.dense_ffn = 9216;
  config.expert_ffn = config.shared_ffn = 1024;
  return config;
}

// The same with other routing, positions and tokens.
ModelConfig llada2_2(ModelConfig config) {
  config.max_positions = 131072;
  config.rope_theta = 3000000;
  config.routing.policy = RoutingPolicy::Selection::block_routing;
  config.routing.groups.reset();
  config.routing.block.pool = 48;
  config.other_end_tokens = {kLlada2RoleEnd};
  config.delete_token = kLlada2Delete;
  config.insert_token = kLlada2Insert;
  return config;
}
ModelConfig llada2_2_mini() { return llada2_2(llada2_mini()); }
ModelConfig llada2_2_flash() { return llada2_2(llada2_flash()); }

ModelConfig llada_moe() {
  ModelConfig config;
  config.family = Family::llada_moe;
  config.vocab_size = 157184;
  config.layers = 16;
  config.hidden = 2048;
  config.heads = config.kv_heads = 16;
  config.head_dim = 128;
  config.max_positions = 8192;
  config.dense_ffn = 8192;  // of no layer
  config.experts = 64;
  config.expert_ffn = 1024;
  config.shared_ffn = config.shared_experts = 0;
  config.routing.experts_per_token = 8;
  config.routing.weights = RoutingPolicy::Weights::softmax_before;
  config.routing.renormalize = false;
  config.norm_epsilon = 1e-5f;
  config.rope_theta = 50000;
  config.mask_token = kLlada2Mask;
  config.end_token = config.pad_token = kLlada2End;
  return config;
}

struct PublishedModel {
  std::string_view name;
  ModelConfig (*config)();
};
constexpr PublishedModel kModels[] = {{"llada2-mini", llada2_mini},
                                      {"llada2-flash", llada2_flash},
                                      {"llada2.2-mini", llada2_2_mini},
                                      {"llada2.2-flash", llada2_2_flash},
                                      {"llada-moe", llada_moe}};

}  // namespace

std::string published_names() {
  std::string names;
  for (const PublishedModel& model : kModels) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", model.name);
  }
  return names;
}

Result<ModelConfig> published_model(std::string_view name) {
  for (const PublishedModel& model : kModels) {
    if (model.name == name) return model.config();
  }
  return usage_error("shape {:?}: expected {}", name, published_names());
}

}  // namespace unmask
