#include "unmask/kernels/finite.h"

#include "tests/support/numeric.h"
#include <limits>

#include <gtest/gtest.h>

namespace unmask {
namespace {

TEST(Finite, FindsTheFirstNonFiniteValueAnywhere) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const int64_t n = 140003;
  TestMatrix x = random_matrix(1, n, 1);
  x(0, 5) = std::numeric_limits<float>::max();
  x(0, 6) = std::numeric_limits<float>::denorm_min();
  EXPECT_TRUE(all_finite(x.flat()));
  EXPECT_EQ(first_non_finite(x.flat()), -1);
  for (const float bad : {infinity, -infinity, nan, -nan}) {
    for (const int64_t place : {int64_t{0}, int64_t{17}, int64_t{65536}, n - 1}) {
      TestMatrix broken = x;
      broken(0, place) = bad;
      broken(0, n - 1) = bad;
      EXPECT_FALSE(all_finite(broken.flat())) << place;
      EXPECT_EQ(first_non_finite(broken.flat()), place);
    }
  }
  EXPECT_TRUE(all_finite({}));
  EXPECT_EQ(first_non_finite({}), -1);
}

}  // namespace
}  // namespace unmask
