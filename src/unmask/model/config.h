#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/routing/policy.h"
#include "unmask/routing/router.h"

namespace unmask {

// Which family of checkpoints a model is written as; the computation does not depend on it.
enum class Family { unmask, llada2, llada_moe, sdar_moe };

// A pre-norm transformer with routed and shared experts. Every size is in elements.
struct ModelConfig {
  Family family = Family::unmask;
  int32_t vocab_size = 257;
  int32_t layers = 4;
  int32_t hidden = 128;
  int32_t heads = 4;
  int32_t kv_heads = 4;
  int32_t head_dim = 32;
  int32_t max_positions = 4096;

  int32_t dense_layers = 0;  // the first layers, with a dense feed-forward instead of experts
  int32_t dense_ffn = 0;     // its width
  int32_t experts = 32;
  int32_t expert_ffn = 64;     // width of one routed expert
  int32_t shared_ffn = 128;    // width of the shared expert (of all of them together), 0 = none
  int32_t shared_experts = 1;  // how many shared experts that width stands for (scaling factors)
  RoutingPolicy routing;
  bool expert_bias = false;  // a per-expert selection bias is part of the model

  float norm_epsilon = 1e-6f;
  float rope_theta = 10000.0f;
  float rope_fraction = 1.0f;  // of head_dim, from its start, that is rotated (half-split)
  bool qk_norm = true;         // RMSNorm per head, before RoPE
  bool qkv_bias = false;
  bool linear_bias = false;  // attention output
  bool tied_head = false;
  float init_std = 0.02f;  // residual outputs: init_std / sqrt(2 layers)

  int32_t mask_token = 256;
  int32_t end_token = 10;                 // joins documents, ends generation
  std::vector<int32_t> other_end_tokens;  // end it too
  int32_t pad_token = 10;
  // Predicted where a block is to be edited, never part of a text (LLaDA2.2); kNoToken: none.
  static constexpr int32_t kNoToken = -1;
  int32_t delete_token = kNoToken;  // its position is removed
  int32_t insert_token = kNoToken;  // a mask is put before its position

  // Attention at inference and in block training: 0 = full, else block-causal with this block.
  int32_t attention_block = 0;

  int32_t rope_dims() const {
    return static_cast<int32_t>(static_cast<float>(head_dim) * rope_fraction);
  }
  bool ends(int32_t token) const {
    return token == end_token || std::ranges::count(other_end_tokens, token) > 0;
  }
  bool edits_blocks() const { return delete_token != kNoToken; }
  bool is_dense(int32_t layer) const { return layer < dense_layers; }
  bool operator==(const ModelConfig&) const = default;
};

// Everything that makes a configuration impossible, as one usage error naming the key, the value
// and what is permitted.
Status validate(const ModelConfig& config);

// The router of a layer with experts, or why its policy cannot be.
Result<std::unique_ptr<Router>> make_router(const ModelConfig& config);

}  // namespace unmask
