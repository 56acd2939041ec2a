#include "unmask/experiment/learning_efficiency.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(LearningEfficiency, IsTheRateOfAnExponential) {
  std::vector<double> step, loss;
  for (int i = 0; i <= 10; ++i) {
    step.push_back(50.0 * i);
    loss.push_back(7 * std::exp(-0.002 * step.back()));
  }
  EXPECT_NEAR(mean_learning_efficiency(step, loss, 0), 0.002, 1e-12);
  EXPECT_NEAR(mean_learning_efficiency(step, loss, 333), 0.002, 1e-12);
}

TEST(LearningEfficiency, LooksOnlyBehindTheBeginning) {
  const std::vector<double> step = {0, 100, 200, 300};
  const std::vector<double> loss = {1, std::exp(-1.0), std::exp(-1.0), std::exp(-1.0)};
  EXPECT_GT(mean_learning_efficiency(step, loss, 0), 0.001);
  EXPECT_NEAR(mean_learning_efficiency(step, loss, 100), 0, 1e-12);
}

TEST(LearningEfficiency, ARisingLossIsNegative) {
  EXPECT_LT(mean_learning_efficiency(std::vector<double>{1, 2}, std::vector<double>{1, 2}, 0), 0);
}

TEST(LearningEfficiency, PassesOverWhatIsMissing) {
  const std::vector<double> step = {0, 1, 2, 3}, loss = {std::exp(3.0), kNaN, std::exp(1.0), 1};
  EXPECT_NEAR(mean_learning_efficiency(step, loss, 0), 1, 1e-12);
  EXPECT_TRUE(std::isnan(mean_learning_efficiency(step, loss, 3)));
}

}  // namespace
}  // namespace unmask
