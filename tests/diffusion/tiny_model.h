#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/model/model.h"

namespace unmask {

inline constexpr int32_t kTinyVocab = 19;
inline constexpr int32_t kTinyEnd = 17;
inline constexpr int32_t kTinyMask = 18;

inline constexpr int32_t kTinyDelete = 14;
inline constexpr int32_t kTinyInsert = 15;

inline ModelConfig with_edit_tokens(ModelConfig config) {
  config.delete_token = kTinyDelete;
  config.insert_token = kTinyInsert;
  return config;
}

inline ModelConfig tiny_config() {
  ModelConfig config;
  config.vocab_size = kTinyVocab;
  config.layers = 2;
  config.hidden = 16;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_dim = 8;
  config.max_positions = 64;
  config.experts = 4;
  config.expert_ffn = 8;
  config.shared_ffn = 8;
  config.routing.experts_per_token = 2;
  config.mask_token = kTinyMask;
  config.end_token = kTinyEnd;
  config.pad_token = kTinyEnd;
  config.init_std = 0.5f;  // large, so that predictions are far from uniform
  return config;
}

// For text of bytes.
inline ModelConfig tiny_byte_config(int32_t max_positions) {
  ModelConfig config = tiny_config();
  config.vocab_size = 258;
  config.mask_token = 256;
  config.end_token = config.pad_token = 257;
  config.max_positions = max_positions;
  return config;
}

inline ModelConfig tiny_expert_choice() {
  ModelConfig config = tiny_config();
  config.routing.policy = RoutingPolicy::Selection::expert_choice;
  config.routing.capacity = RoutingPolicy::Capacity{
      .schedule = RoutingPolicy::Capacity::Schedule::linear_reverse, .min = 1, .max = 3};
  return config;
}

// All parameters zero: every prediction is uniform.
inline Model uniform_model(const ModelConfig& config = tiny_config()) {
  Result<Model> model = Model::create(config);
  UNMASK_CHECK(model.ok());
  return std::move(model).value();
}

inline Model random_model(const ModelConfig& config = tiny_config(), uint64_t seed = 1) {
  Model model = uniform_model(config);
  initialize(model.parameters(), seed);
  return model;
}

// Predicts softmax(logits) at every masked position: layers that add nothing, a mask embedding
// whose norm is (1, ..., 1), and a head of constant rows.
inline Model constant_model(const std::vector<float>& logits,
                            const ModelConfig& config = tiny_config()) {
  Model model = uniform_model(config);
  const Matrix embedding = model.parameters()[model.layout().embedding];
  const Matrix norm = model.parameters()[model.layout().final_norm];
  const Matrix head = model.parameters()[model.layout().head];
  std::fill_n(embedding.row(config.mask_token), config.hidden, 1.0f);
  // The norm divides by sqrt(1 + epsilon).
  std::fill_n(norm.row(0), config.hidden, std::sqrt(1.0f + config.norm_epsilon));
  for (int32_t v = 0; v < config.vocab_size; ++v) {
    std::fill_n(head.row(v), config.hidden, logits[v] / static_cast<float>(config.hidden));
  }
  return model;
}

}  // namespace unmask
