#include "unmask/experiment/expert_parallel.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

double throughput(const std::vector<double>& load, int32_t ranks) {
  return expert_parallel_throughput(load, ranks);
}

TEST(ExpertParallel, BalancedLoadIsWhatIsComparedWith) {
  for (const int32_t ranks : {1, 2, 4, 8}) {
    EXPECT_DOUBLE_EQ(throughput(std::vector<double>(8, 3.0), ranks), 1);
  }
  EXPECT_DOUBLE_EQ(throughput({0, 0, 0, 0}, 2), 1);
}

TEST(ExpertParallel, ALayerTakesAsLongAsItsBusiestRank) {
  EXPECT_DOUBLE_EQ(throughput({4, 0, 0, 0}, 4), 0.25);
  EXPECT_DOUBLE_EQ(throughput({4, 0, 0, 0}, 2), 0.5);
  EXPECT_DOUBLE_EQ(throughput({4, 0, 0, 0}, 1), 1);
  EXPECT_DOUBLE_EQ(throughput({6, 2, 3, 1}, 4), 0.5);   // 3 / 6
  EXPECT_DOUBLE_EQ(throughput({6, 2, 3, 1}, 2), 0.75);  // 6 / 8
}

TEST(ExpertParallel, NeighboursOnARankEvenOut) {
  EXPECT_DOUBLE_EQ(throughput({3, 1, 2, 2}, 2), 1);
  EXPECT_DOUBLE_EQ(throughput({3, 2, 1, 2}, 2), 0.8);  // 4 / 5: the order counts
}

TEST(ExpertParallel, UnevenSharesOfExperts) {
  EXPECT_DOUBLE_EQ(throughput({1, 1, 1, 1, 1}, 2), 2.5 / 3);  // three and two experts
  EXPECT_DOUBLE_EQ(throughput({3, 1, 1, 1, 1}, 2), 3.5 / 5);  // the first rank has one more
  EXPECT_DOUBLE_EQ(throughput({1, 1}, 4), 0.5);               // two ranks have none
}

TEST(LoadImbalance, IsMaxOverMeanAndVariation) {
  const std::vector<double> load = {2, 4, 6, 8};
  EXPECT_DOUBLE_EQ(load_imbalance(load).max_over_mean, 1.6);
  EXPECT_DOUBLE_EQ(load_imbalance(load).variation, std::sqrt(5.0) / 5);
  EXPECT_DOUBLE_EQ(load_imbalance(std::vector<double>(4, 7.0)).variation, 0);
}

}  // namespace
}  // namespace unmask
