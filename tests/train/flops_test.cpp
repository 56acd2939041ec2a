#include "unmask/train/flops.h"

#include <gtest/gtest.h>

namespace unmask {
namespace {

using Selection = RoutingPolicy::Selection;

ModelConfig model() {
  ModelConfig config;
  config.vocab_size = 100;
  config.layers = 2;
  config.hidden = 64;
  config.heads = config.kv_heads = 2;
  config.head_dim = 32;
  config.experts = 8;
  config.expert_ffn = 16;
  config.shared_ffn = 32;
  config.routing.experts_per_token = 2;
  return config;
}

// Of one layer of that model: projections, router, two experts and the shared one.
constexpr double kLayer = 4 * 64 * 64 + 64 * 8 + 3 * 64 * (2 * 16 + 32);
constexpr double kHead = 64 * 100;

TEST(Flops, CountWhatATokenPassesThrough) {
  const ModelConfig config = model();
  EXPECT_EQ(active_parameters(config, 96), 2 * kLayer + kHead);
  EXPECT_EQ(flops_per_token(config, 96), 6 * (2 * kLayer + kHead) + 12.0 * 2 * 96 * 64);
  EXPECT_EQ(flops_per_token_given(config, 96, 2), flops_per_token(config, 96));
}

TEST(Flops, DenseLayersAndSharedKeyHeadsCountAsTheyAre) {
  ModelConfig config = model();
  config.kv_heads = 1;
  config.dense_layers = 1;
  config.dense_ffn = 48;
  const double attention =
      3 * 64 * 64;  // of queries and the output 64 rows each, 32 of keys, values
  const double all = 2 * attention + 3 * 64 * 48 + (kLayer - 4 * 64 * 64) + kHead;
  EXPECT_EQ(active_parameters(config, 96), all);
  EXPECT_EQ(flops_per_token(config, 96), 6 * all + 12.0 * 2 * 96 * 64);
}

// A token of block diffusion is there noisy and clean. Noisy ones see their block and the clean
// ones before it, clean ones their block and those before: counted query by query.
TEST(Flops, ATokenOfBlockDiffusionPassesTwice) {
  ModelConfig config = model();
  config.attention_block = 8;
  double keys = 0;
  for (int i = 0; i < 96; ++i) {
    const int before = i / 8 * 8;
    keys += (8 + before) + (before + 8);
  }
  keys /= 96;
  EXPECT_EQ(active_parameters(config, 96), 2 * kLayer + kHead);
  EXPECT_EQ(flops_per_token(config, 96), 6 * (4 * kLayer + kHead) + 12 * 2 * keys * 64);
  EXPECT_EQ(flops_per_token_given(config, 96, 2), flops_per_token(config, 96));
  config.attention_block = 200;  // the whole sequence is one block, seen by both
  EXPECT_EQ(flops_per_token(config, 96), 6 * (4 * kLayer + kHead) + 12.0 * 2 * (2 * 96) * 64);
}

TEST(ExpertsPerTokenGiven, AreThoseOfACoreset) {
  RoutingPolicy policy = {.policy = Selection::coreset_expert_choice, .experts_per_token = 4};
  policy.block = {.size = 32, .coreset_min = 16};
  // max(1, floor(32 k / 16)) of 32 tokens for each of 16 experts: k.
  for (const int32_t k : {1, 4, 8}) EXPECT_EQ(experts_per_token_given(policy, 256, 512, k), k);
  // A block of 5: floor(5 * 4 / 16) = 1 token for each of 16 experts.
  EXPECT_EQ(experts_per_token_given(policy, 256, 5, 4), 16 / 5.0);
  policy.block.size = 5;
  EXPECT_EQ(experts_per_token_given(policy, 256, 512, 4), 16 / 5.0);
  EXPECT_EQ(experts_per_token_given(policy, 256, 512, 24), 24);        // a coreset of k experts
  EXPECT_EQ(experts_per_token_given(policy, 8, 512, 4), 2 * 8 / 5.0);  // all 8
}

TEST(ExpertsPerTokenGiven, AreWhatWholeCapacitiesLeave) {
  RoutingPolicy policy = {.policy = Selection::expert_choice, .experts_per_token = 8};
  EXPECT_EQ(experts_per_token_given(policy, 64, 100, 8), 12 * 64 / 100.0);
  policy.selection = RoutingPolicy::Group::block;
  EXPECT_EQ(experts_per_token_given(policy, 256, 512, 8), 256 / 32.0);
  EXPECT_EQ(experts_per_token_given(policy, 256, 512, 4), 256 / 32.0);
  policy.selection = RoutingPolicy::Group::batch;
  EXPECT_EQ(experts_per_token_given(policy, 256, 512, 4), 4);
  EXPECT_EQ(experts_per_token_given(policy, 64, 100, 8), 8);
  policy.policy = Selection::token_choice;
  EXPECT_EQ(experts_per_token_given(policy, 256, 10, 4), 4);
}

}  // namespace
}  // namespace unmask
