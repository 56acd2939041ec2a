#include "unmask/model/expert_cache.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/random.h"

namespace unmask {
namespace {

constexpr int32_t kLayers = 5, kExperts = 12;
const ExpertForm kForm = {{WeightFormat::bf16, 32, 4, 0}, {WeightFormat::bf16, 32, 32, 0}};

// Every byte of a record says whose it is.
std::byte mark(int32_t layer, int32_t expert) {
  return static_cast<std::byte>(1 + layer * kExperts + expert);
}

struct CacheTest : testing::Test {
  std::atomic<int64_t> reads = 0;
  int32_t fail_at_expert = -1;

  std::unique_ptr<ExpertCache> make(int64_t records) {
    auto cache = ExpertCache::create(
        kForm, kLayers, kExperts, records * kForm.bytes(),
        [this](int32_t layer, int32_t expert, std::span<std::byte> record) -> Status {
          ++reads;
          std::ranges::fill(record, mark(layer, expert));
          if (expert == fail_at_expert) return failure("expert {} is gone", expert);
          return {};
        });
    EXPECT_TRUE(cache.ok());
    return std::move(*cache);
  }

  static std::vector<int32_t> begin_of(const std::vector<int32_t>& experts) {
    std::vector<int32_t> begin = {0};
    for (int32_t e = 0; e < kExperts; ++e) {
      begin.push_back(begin.back() + (std::ranges::find(experts, e) != experts.end()));
    }
    return begin;
  }

  static void use(ExpertCache& cache, int32_t layer, const std::vector<int32_t>& experts) {
    const QuantizedExperts found = cache.acquire(layer, begin_of(experts));
    for (const int32_t e : experts) {
      const std::byte* const record = found.records[static_cast<size_t>(e)];
      ASSERT_TRUE(std::all_of(record, record + kForm.bytes(),
                              [&](std::byte b) { return b == mark(layer, e); }));
    }
  }
};

TEST_F(CacheTest, EveryRecordIsTheRightOneWhateverTheOrder) {
  for (const int64_t records : {12, 13, 20, 60, 1000}) {
    const auto cache = make(records);
    for (uint32_t pass = 0; pass < 200; ++pass) {
      std::vector<int32_t> experts;
      for (int32_t e = 0; e < kExperts; ++e) {
        if (random_below({5, Purpose::synthetic}, 3, pass, static_cast<uint32_t>(e)) == 0) {
          experts.push_back(e);
        }
      }
      const auto layer =
          pass % 7 == 6 ? static_cast<int32_t>(random_below({6, Purpose::synthetic}, kLayers, pass))
                        : static_cast<int32_t>(pass % kLayers);
      use(*cache, layer, experts);
    }
    EXPECT_TRUE(cache->status().ok());
  }
}

TEST_F(CacheTest, ReadsEachExpertOnceWhenThereIsRoomForAll) {
  const auto cache = make(kLayers * kExperts);
  for (int step = 0; step < 4; ++step) {
    for (int32_t layer = 0; layer < kLayers; ++layer) use(*cache, layer, {0, 3, 7});
  }
  EXPECT_EQ(reads, 3 * kLayers);
  EXPECT_EQ(cache->counts().used, 4 * 3 * kLayers);
  EXPECT_EQ(cache->counts().found, 3 * 3 * kLayers);
}

// 30 records are used in turn and 20 fit: what leaves is what comes again last, so that at least
// 20 - 12 of them are found in every step, where the least recently used would find none.
TEST_F(CacheTest, FindsWhatFitsOfARoundThatDoesNot) {
  const auto cache = make(20);
  constexpr int kSteps = 20;
  for (int step = 0; step < kSteps; ++step) {
    for (int32_t layer = 0; layer < kLayers; ++layer) use(*cache, layer, {0, 1, 2, 3, 4, 5});
  }
  EXPECT_GE(cache->counts().found, (kSteps - 1) * 8);
}

TEST_F(CacheTest, AFailedReadingIsReportedAndLeavesZeros) {
  fail_at_expert = 4;
  const auto cache = make(kExperts);
  const QuantizedExperts found = cache->acquire(2, begin_of({3, 4}));
  EXPECT_EQ(*found.records[4], std::byte{0});
  EXPECT_EQ(*found.records[3], mark(2, 3));
  ASSERT_FALSE(cache->status().ok());
  EXPECT_NE(cache->status().error().message.find("expert 4 is gone"), std::string::npos);
}

TEST_F(CacheTest, RefusesRoomForLessThanALayer) {
  const auto cache = ExpertCache::create(kForm, kLayers, kExperts, 11 * kForm.bytes(), {});
  ASSERT_FALSE(cache.ok());
  EXPECT_NE(cache.error().message.find("expert memory"), std::string::npos);
}

TEST_F(CacheTest, TheFirstFailureIsTheOneReported) {
  fail_at_expert = 4;
  const auto cache = make(kExperts);
  cache->acquire(2, begin_of({4}));
  fail_at_expert = 5;
  cache->acquire(2, begin_of({5}));
  EXPECT_NE(cache->status().error().message.find("expert 4 is gone"), std::string::npos);
}

// What its layer's last pass did without leaves before what the next layer had.
TEST_F(CacheTest, WhatALayerDidWithoutLeavesFirst) {
  const auto cache = make(kExperts);
  use(*cache, 4, {0, 1, 2, 3, 4, 5, 6, 7});
  use(*cache, 0, {0, 1, 2, 3});
  use(*cache, 0, {8});  // in place of some of layer 4, which comes later: 0 to 3 are not wanted
  const int64_t before = cache->counts().found;
  use(*cache, 4, {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(cache->counts().found - before, 8);
}

}  // namespace
}  // namespace unmask
