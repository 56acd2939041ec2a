#include "unmask/base/bf16.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace unmask {
namespace {

float from_bits(uint32_t bits) { return std::bit_cast<float>(bits); }

TEST(Bf16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 1u << 16; ++bits) {
    const float value = from_bits(bits << 16);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(round_to_bf16(value)));
    } else {
      ASSERT_EQ(bf16(value).bits, bits);
    }
  }
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(bf16(from_bits(0x3f807fff)).bits, 0x3f80);  // below the middle
  EXPECT_EQ(bf16(from_bits(0x3f808000)).bits, 0x3f80);  // the middle, to the even one
  EXPECT_EQ(bf16(from_bits(0x3f808001)).bits, 0x3f81);
  EXPECT_EQ(bf16(from_bits(0x3f818000)).bits, 0x3f82);
  EXPECT_EQ(bf16(from_bits(0xbf818000)).bits, 0xbf82);
  EXPECT_EQ(bf16(from_bits(0x3fffffff)).bits, 0x4000);  // carries into the exponent
}

TEST(Bf16, KeepsTheEdges) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(round_to_bf16(kInfinity), kInfinity);
  EXPECT_EQ(round_to_bf16(-kInfinity), -kInfinity);
  EXPECT_EQ(round_to_bf16(std::numeric_limits<float>::max()), kInfinity);
  EXPECT_EQ(bf16(-0.0f).bits, 0x8000);
  EXPECT_EQ(bf16(from_bits(0x00008001)).bits, 0x0001);            // denormal
  EXPECT_TRUE(std::isnan(round_to_bf16(from_bits(0x7f800001))));  // its payload is below the cut
  EXPECT_TRUE(std::isnan(round_to_bf16(from_bits(0xffffffff))));
}

}  // namespace
}  // namespace unmask
