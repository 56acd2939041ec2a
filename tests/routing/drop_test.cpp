#include "unmask/routing/drop.h"

#include <cmath>

#include <gtest/gtest.h>

namespace unmask {
namespace {

int64_t slots(double factor, int64_t tokens) {
  return slots_per_expert({.experts_per_token = 2, .drop = RoutingPolicy::Drop{factor}}, tokens, 8);
}

TEST(SlotsPerExpert, FollowTheFactorUpToOneForEachToken) {
  EXPECT_EQ(slots(1, 100), 25);
  EXPECT_EQ(slots(1.25, 100), 32);  // 31.25, up
  EXPECT_EQ(slots(4, 100), 100);
  EXPECT_EQ(slots(5, 100), 100);
  EXPECT_EQ(slots(1e308, 100), 100);
  EXPECT_EQ(slots(1e-308, 100), 1);
  EXPECT_EQ(slots(1e308, 0), 0);
}

}  // namespace
}  // namespace unmask
