#include <bit>
#include <cmath>
#include <cstdint>
#include <immintrin.h>
#include <limits>

#include <gtest/gtest.h>

#include "unmask/base/bf16.h"

namespace unmask {
namespace eight_lanes {
// clang-format off
#include "unmask/kernels/isa/lanes8.inl.h"
#include "unmask/kernels/isa/vector_exp.inl.h"
// clang-format on
}  // namespace eight_lanes
namespace {

float exp_of(float x) {
  float result[eight_lanes::kLanes];
  eight_lanes::store(result, eight_lanes::vector_exp(eight_lanes::broadcast(x)));
  return result[0];
}

TEST(VectorExp, IsWithinOneAndAHalfUnitsInTheLastPlace) {
  double worst = 0;
  // Every 1999th f32 of both signs between 2^-40 and the overflow.
  for (uint32_t bits = 0x2b800000; bits < 0x42b17218; bits += 1999) {
    for (const float x : {std::bit_cast<float>(bits), -std::bit_cast<float>(bits)}) {
      const double expected = std::exp(static_cast<double>(x));
      if (expected < 0x1p-126) continue;
      const double unit = std::ldexp(1.0, std::ilogb(expected) - 23);
      worst = std::max(worst, std::abs(exp_of(x) - expected) / unit);
    }
  }
  EXPECT_LE(worst, 1.5);
  EXPECT_GE(worst, 0.4);  // else nothing was measured
}

TEST(VectorExp, HandlesWhatIsNotANormalNumber) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(exp_of(0.0f), 1.0f);
  EXPECT_EQ(exp_of(-0.0f), 1.0f);
  EXPECT_EQ(exp_of(-infinity), 0.0f);
  EXPECT_EQ(exp_of(infinity), infinity);
  EXPECT_EQ(exp_of(88.8f), infinity);
  EXPECT_EQ(exp_of(3e38f), infinity);
  EXPECT_EQ(exp_of(-88.0f), 0.0f);
  EXPECT_EQ(exp_of(-3e38f), 0.0f);
  EXPECT_EQ(exp_of(std::numeric_limits<float>::denorm_min()), 1.0f);
  EXPECT_TRUE(std::isnan(exp_of(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace unmask
