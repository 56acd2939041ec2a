#include "unmask/experiment/statistics.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

TEST(Student, QuantilesAreThoseOfTheTables) {
  // Two-sided 95 %, then 99 %, 90 %.
  const std::pair<int64_t, double> tables[] = {
      {1, 12.7062047362}, {2, 4.30265272991}, {3, 3.18244630528},  {4, 2.77644510520},
      {5, 2.57058183564}, {9, 2.26215716280}, {30, 2.04227245630}, {120, 1.97993040505}};
  for (const auto& [degrees, t] : tables) {
    EXPECT_NEAR(student_quantile(0.95, degrees), t, 1e-9) << degrees;
  }
  EXPECT_NEAR(student_quantile(0.99, 4), 4.60409487135, 1e-9);
  EXPECT_NEAR(student_quantile(0.90, 7), 1.89457860509, 1e-9);
}

TEST(Student, ManyDegreesAreNormal) {
  EXPECT_NEAR(student_quantile(0.95, 2'000'000), 1.959963984540054, 1e-5);
}

TEST(MeanInterval, IsTheMeanAndTTimesItsError) {
  const std::vector<double> values = {1, 2, 3};
  const Interval interval = mean_interval(values);
  EXPECT_EQ(interval.count, 3);
  EXPECT_DOUBLE_EQ(interval.mean, 2);
  EXPECT_NEAR(interval.half_width(), 4.30265272991 / std::sqrt(3.0), 1e-9);
  EXPECT_NEAR(interval.low, 2 - 2.48413771, 1e-7);
  EXPECT_NEAR(interval.high, 2 + 2.48413771, 1e-7);
}

TEST(MeanInterval, KnowsNothingOfOneValue) {
  const std::vector<double> one = {5}, none = {};
  EXPECT_EQ(mean_interval(one).mean, 5);
  EXPECT_TRUE(std::isinf(mean_interval(one).half_width()));
  EXPECT_TRUE(std::isnan(mean_interval(none).mean));
}

TEST(MeanInterval, LeavesOutWhatIsMissing) {
  const std::vector<double> values = {1, kMissing, 3};
  EXPECT_EQ(mean_interval(values).count, 2);
  EXPECT_EQ(mean_interval(values).mean, 2);
}

TEST(RankCorrelation, CountsPairsInOrder) {
  const double x[] = {1, 2, 3, 4};
  EXPECT_EQ(rank_correlation(x, std::vector<double>{1, 10, 100, 1000}), 1);
  EXPECT_EQ(rank_correlation(x, std::vector<double>{3, 2, 1, 0}), -1);
  // Of six pairs four in order, one not, one equal.
  EXPECT_EQ(rank_correlation(x, std::vector<double>{1, 3, 2, 3}), 0.5);
  EXPECT_TRUE(std::isnan(rank_correlation({}, {})));
}

TEST(PairedInterval, IsNarrowWhereSeedsDifferAndArmsDoNot) {
  const std::vector<double> a = {5.0, 6.0, 7.0}, b = {4.9, 5.9, 6.9};
  const Interval paired = paired_interval(a, b, difference);
  EXPECT_NEAR(paired.mean, 0.1, 1e-12);
  EXPECT_LT(paired.half_width(), 1e-9);
  EXPECT_GT(mean_interval(a).half_width(), 2);
}

TEST(PairedInterval, PairsOnlySeedsThatBothHave) {
  const std::vector<double> a = {4, 6, kMissing}, b = {2, 2};
  EXPECT_EQ(paired_interval(a, b, quotient).count, 2);
  EXPECT_EQ(paired_interval(a, b, quotient).mean, 2.5);
}

}  // namespace
}  // namespace unmask
