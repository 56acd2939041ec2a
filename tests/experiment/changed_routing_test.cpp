#include "unmask/experiment/changed_routing.h"

#include <gtest/gtest.h>

namespace unmask {
namespace {

TEST(ChangeRouting, WhatBalancesTrainingGoes) {
  ModelConfig config;
  config.routing.balance = {.switch_loss = 0.01f};
  const Status changed = change_routing({{"experts_per_token", 3}}, "test", config);
  ASSERT_TRUE(changed.ok()) << changed.error().message;
  EXPECT_EQ(config.routing.experts_per_token, 3);
  EXPECT_EQ(config.routing.balance.switch_loss, 0);
}

}  // namespace
}  // namespace unmask
