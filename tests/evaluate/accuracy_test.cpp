#include "unmask/evaluate/accuracy.h"

#include <gtest/gtest.h>

namespace unmask {
namespace {

// Roots t of (p - t)^2 = z^2 t (1 - t) / n.
TEST(Accuracy, IntervalIsWilsons) {
  const Accuracy half = accuracy_of(50, 100);
  EXPECT_DOUBLE_EQ(half.share, 0.5);
  EXPECT_NEAR(half.low, 0.4038315, 1e-6);
  EXPECT_NEAR(half.high, 0.5961685, 1e-6);
  const Accuracy most = accuracy_of(9, 10);
  EXPECT_NEAR(most.low, 0.5958500, 1e-6);
  EXPECT_NEAR(most.high, 0.9821238, 1e-6);
}

TEST(Accuracy, StaysBetweenZeroAndOne) {
  EXPECT_NEAR(accuracy_of(0, 20).low, 0, 1e-12);
  EXPECT_NEAR(accuracy_of(0, 20).high, 0.1611252, 1e-6);
  EXPECT_NEAR(accuracy_of(20, 20).high, 1, 1e-12);
  const Accuracy none = accuracy_of(0, 0);
  EXPECT_EQ(none.low, 0);
  EXPECT_EQ(none.high, 1);
}

}  // namespace
}  // namespace unmask
