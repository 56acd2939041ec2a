#include "unmask/train/schedule.h"

#include <cmath>

#include <gtest/gtest.h>

namespace unmask {
namespace {

TEST(LearningRate, WarmsUpLinearlyToThePeak) {
  const LearningRate rate = {.peak = 1.0f, .floor = 0.1f, .warmup = 10, .steps = 100};
  EXPECT_FLOAT_EQ(rate.at(1), 0.1f);
  EXPECT_FLOAT_EQ(rate.at(5), 0.5f);
  EXPECT_FLOAT_EQ(rate.at(10), 1.0f);
}

TEST(LearningRate, WsdIsStableThenDecaysAsPaperA) {
  const LearningRate rate = {.peak = 1.0f, .floor = 0.1f, .warmup = 10, .decay = 0.2, .steps = 100};
  EXPECT_FLOAT_EQ(rate.at(11), 1.0f);
  EXPECT_FLOAT_EQ(rate.at(80), 1.0f);
  EXPECT_FLOAT_EQ(rate.at(90), 0.1f + 0.9f * (2.0f * std::sqrt(0.5f) - 1.0f));
  EXPECT_FLOAT_EQ(rate.at(100), 0.1f);
}

TEST(LearningRate, WsdDecaysAfterTheWarmUp) {
  const LearningRate rate = {.peak = 1.0f, .floor = 0.1f, .warmup = 90, .decay = 0.2, .steps = 100};
  EXPECT_FLOAT_EQ(rate.at(90), 1.0f);
  EXPECT_FLOAT_EQ(rate.at(95), 0.1f + 0.9f * (2.0f * std::sqrt(0.5f) - 1.0f));
}

TEST(LearningRate, TheShareThatDecaysIsRounded) {
  const LearningRate rate = {.peak = 1.0f, .floor = 0.1f, .decay = 0.2, .steps = 103};  // 20.6
  EXPECT_FLOAT_EQ(rate.at(82), 1.0f);
  EXPECT_LT(rate.at(83), 1.0f);
}

TEST(LearningRate, CosineBeginsAfterTheWarmUp) {
  const LearningRate rate = {.shape = LearningRate::Shape::cosine,
                             .peak = 1.0f,
                             .floor = 0.2f,
                             .warmup = 10,
                             .steps = 110};
  EXPECT_FLOAT_EQ(rate.at(60), 0.6f);
}

TEST(LearningRate, CosineEndsAtTheFloor) {
  const LearningRate rate = {
      .shape = LearningRate::Shape::cosine, .peak = 1.0f, .floor = 0.2f, .warmup = 0, .steps = 100};
  EXPECT_FLOAT_EQ(rate.at(50), 0.6f);
  EXPECT_FLOAT_EQ(rate.at(100), 0.2f);
}

TEST(LearningRate, ConstantStaysAtThePeak) {
  const LearningRate rate = {
      .shape = LearningRate::Shape::constant, .peak = 1.0f, .floor = 0.2f, .steps = 100};
  EXPECT_FLOAT_EQ(rate.at(100), 1.0f);
}

}  // namespace
}  // namespace unmask
