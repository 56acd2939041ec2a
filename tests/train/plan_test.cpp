#include "unmask/train/plan.h"

#include <string>

#include <gtest/gtest.h>

#include "unmask/base/readable.h"
#include "unmask/train/flops.h"
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

TEST(PlanMemory, BlockDiffusionHoldsEverySequenceTwice) {
  TrainConfig config = tiny();
  const auto plain = plan_memory(config);
  config.objective.kind = ObjectiveOptions::Kind::block;
  const auto block = plan_memory(config);
  ASSERT_TRUE(plain.ok() && block.ok());
  EXPECT_EQ(block->weights, plain->weights);
  EXPECT_GT(block->tape, 1.9 * static_cast<double>(plain->tape));
}

TEST(CheckMemory, RefusesWhatTheMachineDoesNotHave) {
  EXPECT_TRUE(check_memory({.tape = 1 << 20}).ok());
  const Status status = check_memory({.tape = int64_t{1} << 60});
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("training.batch"), std::string::npos);
}

TEST(Describe, KnowsTheFlopsOfARunOfSteps) {
  TrainConfig config = tiny();
  config.steps = 1000;
  const MemoryPlan plan = *plan_memory(config);
  const double run = flops_per_token(config.model, 16) * 32 * 1000;
  const std::string text = describe(plan, config);
  EXPECT_NE(text.find("steps                          1,000\n"), std::string::npos) << text;
  EXPECT_NE(text.find(readable_count(run)), std::string::npos) << text;
  config.epochs = 2;
  EXPECT_NE(describe(plan, config).find("epochs                             2\n"),
            std::string::npos);
  EXPECT_EQ(describe(plan, config).find("FLOPs of the run"), std::string::npos);
}

}  // namespace
}  // namespace unmask
