#include "unmask/kernels/top_k.h"

#include "tests/support/numeric.h"
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/kernels/reference/top_k.h"

namespace unmask {
namespace {

// Both answers for the k largest of `values`.
void expect_top_k(std::span<const float> values, int64_t k) {
  std::vector<int32_t> keys;
  for (const float x : values) keys.push_back(order_key(x));
  std::vector<int32_t> expected(k), actual(k);
  reference::top_k_keys(keys, expected);
  top_k(values, actual);
  EXPECT_EQ(actual, expected) << values.size() << " values, k " << k;
}

TEST(OrderKey, OrdersAsFloatsDo) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> ascending = {-inf,   -1e30f, -1.0f, -1e-40f, 0.0f,
                                        1e-40f, 1.0f,   1e30f, inf};
  for (size_t i = 1; i < ascending.size(); ++i) {
    EXPECT_LT(order_key(ascending[i - 1]), order_key(ascending[i])) << ascending[i];
  }
  EXPECT_EQ(order_key(-0.0f), order_key(0.0f));
  EXPECT_GT(order_key(std::nanf("")), order_key(inf));
  EXPECT_LT(order_key(-std::nanf("")), order_key(-inf));
  EXPECT_GT(order_key(std::bit_cast<float>(0xffffffffu)), kNoKey);
}

TEST(TopK, AgreesWithSorting) {
  for (const int64_t n : {1, 2, 7, 8, 15, 16, 17, 32, 33, 100, 256, 512, 2049}) {
    const TestMatrix x = random_matrix(1, n, static_cast<uint64_t>(n));
    for (const int64_t k : {int64_t{0}, int64_t{1}, n / 16, n / 2, n - 1, n}) {
      expect_top_k({x.view().data, static_cast<size_t>(n)}, k);
    }
  }
}

TEST(TopK, BreaksTiesByPosition) {
  for (const int64_t n : {5, 64, 300}) {
    std::vector<float> values(n);
    for (int levels = 1; levels < 5; ++levels) {
      const std::vector<int32_t> ids = random_ids(n, levels, static_cast<uint64_t>(n + levels));
      for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(ids[i]) - 1.0f;
      for (int64_t k = 0; k <= n; ++k) expect_top_k(values, k);
    }
  }
}

// Magnitudes all over the range of floats, infinities and NaN: no order of magnitude is special.
TEST(TopK, TakesAnyFloat) {
  std::vector<float> values(200);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = std::bit_cast<float>(random_bits({seed, Purpose::synthetic}, i)[0]);
    }
    if (seed % 2) values[seed % values.size()] = std::bit_cast<float>(0xffffffffu);
    for (const int64_t k : {1, 20, 199}) expect_top_k(values, k);
  }
}

}  // namespace
}  // namespace unmask
