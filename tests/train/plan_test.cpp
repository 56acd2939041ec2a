#include "unmask/train/plan.h"

#include <string>

#include <gtest/gtest.h>

#include "unmask/train/learner.h"

namespace unmask {
namespace {

TrainConfig tiny() {
  TrainConfig config;
  config.data.sequence_length = 16;
  config.batch = 2;
  config.model.vocab_size = 64;
  config.model.mask_token = 60;
  config.model.end_token = config.model.pad_token = 61;
  config.model.layers = 1;
  config.model.hidden = 16;
  config.model.heads = config.model.kv_heads = 2;
  config.model.head_dim = 8;
  config.model.experts = 8;
  config.model.expert_ffn = 8;
  config.model.routing.experts_per_token = 2;
  return config;
}

// What training refuses.
TEST(PlanMemory, RefusesAScaleThatNeedsSharedExpertsWithoutAny) {
  TrainConfig config = tiny();
  config.model.routing.monte_carlo = true;
  config.model.shared_ffn = 8;
  EXPECT_TRUE(plan_memory(config).ok());
  config.model.shared_ffn = 0;
  const auto plan = plan_memory(config);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("routing.scale"), std::string::npos);
  EXPECT_FALSE(Learner::create(config).ok());
}

TEST(PlanMemory, RefusesARouterThatNeverLearns) {
  TrainConfig config = tiny();
  config.model.routing.experts_per_token = 1;
  const auto plan = plan_memory(config);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("never learns"), std::string::npos);
  EXPECT_FALSE(Learner::create(config).ok());
}

}  // namespace
}  // namespace unmask
