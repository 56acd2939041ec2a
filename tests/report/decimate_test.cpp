#include "unmask/report/decimate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace unmask {
namespace {

TEST(BucketEnds, CoverAllRowsInOrder) {
  for (const size_t rows : {0u, 1u, 399u, 400u, 401u, 1000u, 12345u, 1'000'000u, 100'000'000u}) {
    const std::vector<size_t> ends = bucket_ends(rows, 400);
    EXPECT_LE(ends.size(), 400u) << rows;
    EXPECT_EQ(ends.empty() ? 0 : ends.back(), rows);
    EXPECT_TRUE(std::is_sorted(ends.begin(), ends.end(), std::less_equal<>{})) << rows;
    if (rows <= 400) {
      EXPECT_EQ(ends.size(), rows);
    }
  }
}

TEST(BucketEnds, TheBeginningIsFine) {
  const std::vector<size_t> ends = bucket_ends(100'000, 400);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(ends[i], i + 1);
}

TEST(KeepExtremes, OfTheWholeAndTheEnds) {
  std::vector<double> values(10'000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i) * 0.37);
  values[1234] = 50;
  values[7777] = -50;
  values[5000] = std::numeric_limits<double>::quiet_NaN();
  const std::vector<size_t> kept = keep_extremes(values, 100);
  EXPECT_LE(kept.size(), 100u);
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
  for (const size_t index : {size_t{0}, size_t{1234}, size_t{7777}, values.size() - 1}) {
    EXPECT_TRUE(std::binary_search(kept.begin(), kept.end(), index)) << index;
  }
  EXPECT_FALSE(std::binary_search(kept.begin(), kept.end(), size_t{5000}));
}

TEST(KeepExtremes, WhatIsMissingHidesNothing) {
  std::vector<double> values(100, 1.0);
  values[0] = std::numeric_limits<double>::quiet_NaN();
  values[3] = 9;
  const std::vector<size_t> kept = keep_extremes(values, 10);
  EXPECT_TRUE(std::binary_search(kept.begin(), kept.end(), size_t{3}));
}

TEST(KeepExtremes, ShortListsAreWhole) {
  const std::vector<double> values = {3, 1, 2};
  EXPECT_EQ(keep_extremes(values, 4), (std::vector<size_t>{0, 1, 2}));
}

}  // namespace
}  // namespace unmask
