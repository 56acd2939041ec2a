#include "unmask/text/sequences.h"

#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "unmask/text/permutation.h"

namespace unmask {
namespace {

using Ids = std::vector<int32_t>;

// The numbers 0, 1, 2, … as one stream of two parts.
std::unique_ptr<TokenStream> counting_stream(int32_t size) {
  std::vector<std::unique_ptr<TokenStream>> parts;
  const int32_t cut = size / 3;
  for (const auto& [begin, end] : {std::pair(0, cut), std::pair(cut, cut), std::pair(cut, size)}) {
    auto part = std::make_unique<TokenBuffer>(-1);
    Ids ids(static_cast<size_t>(end - begin));
    std::iota(ids.begin(), ids.end(), begin);
    EXPECT_TRUE(part->append(ids));
    parts.push_back(std::move(part));
  }
  return join_streams(std::move(parts));
}

TEST(Permutation, IsABijectionOfAnySize) {
  for (int64_t count = 1; count < 300; ++count) {
    for (const uint32_t epoch : {0u, 1u}) {
      const Permutation permutation(count, {5, Purpose::shuffle}, epoch);
      std::set<int64_t> images;
      for (int64_t i = 0; i < count; ++i) images.insert(permutation(i));
      ASSERT_EQ(static_cast<int64_t>(images.size()), count);
      ASSERT_EQ(*images.begin(), 0);
      ASSERT_EQ(*images.rbegin(), count - 1);
    }
  }
}

TEST(Permutation, StaysInsideHugeRanges) {
  const int64_t count = (int64_t{1} << 40) + 12345;
  const Permutation permutation(count, {5, Purpose::shuffle}, 0);
  std::set<int64_t> images;
  for (int64_t i = 0; i < 1000; ++i) {
    const int64_t image = permutation(i);
    ASSERT_TRUE(image >= 0 && image < count);
    images.insert(image);
  }
  EXPECT_EQ(images.size(), 1000u);
}

// Of 2000 uniform permutations each element comes to each of 8 places 250 times, with a standard
// deviation of sqrt(2000 * 1/8 * 7/8) = 14.8; 64 counts within five of those.
TEST(Permutation, SendsEachElementToEachPlaceEquallyOften) {
  int counts[8][8] = {};
  for (uint32_t epoch = 0; epoch < 2000; ++epoch) {
    const Permutation permutation(8, {9, Purpose::shuffle}, epoch);
    for (int64_t i = 0; i < 8; ++i) ++counts[i][permutation(i)];
  }
  for (const auto& row : counts) {
    for (const int count : row) EXPECT_NEAR(count, 250, 74);
  }
}

TEST(TrainingSequences, AnEpochReadsEverySequenceOnceAndNeverTheHeldOut) {
  constexpr int32_t kLength = 7;
  auto created =
      TrainingSequences::create(cut_sequences(counting_stream(40 * kLength + 3), kLength),
                                {.validation_fraction = 0.1, .seed = 3});
  ASSERT_TRUE(created);
  const TrainingSequences& data = created.value();
  ASSERT_EQ(data.train_count(), 36);
  ASSERT_EQ(data.validation_count(), 4);
  std::vector<Ids> orders;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::set<int32_t> seen;
    Ids order;
    for (int64_t i = 0; i < data.train_count(); ++i) {
      Ids ids(kLength);
      const auto bounds = data.train(epoch * data.train_count() + i, ids);
      ASSERT_TRUE(bounds);
      EXPECT_EQ(bounds->prompt, 0);
      EXPECT_EQ(bounds->length, kLength);
      order.push_back(ids[0]);
      for (size_t k = 0; k < ids.size(); ++k) EXPECT_EQ(ids[k], ids[0] + static_cast<int32_t>(k));
      seen.insert(ids.begin(), ids.end());
    }
    EXPECT_EQ(seen.size(), 36u * kLength);
    EXPECT_EQ(*seen.rbegin(), 36 * kLength - 1);
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
  for (int64_t i = 0; i < 4; ++i) {
    Ids ids(kLength);
    ASSERT_TRUE(data.validation(i, ids));
    EXPECT_EQ(ids[0], (36 + i) * kLength);
  }
}

TEST(TrainingSequences, TheSeedDecidesTheOrder) {
  const auto order = [](uint64_t seed) {
    const auto data = TrainingSequences::create(cut_sequences(counting_stream(200), 2),
                                                {.validation_fraction = 0.0, .seed = seed});
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < 100; ++i) indices.push_back(data->source_index(i));
    return indices;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
}

TEST(TrainingSequences, TooLittleDataIsAnError) {
  EXPECT_FALSE(TrainingSequences::create(cut_sequences(counting_stream(5), 7), {}));
  EXPECT_FALSE(TrainingSequences::create(cut_sequences(counting_stream(7), 7), {}));
  const auto wrong = TrainingSequences::create(cut_sequences(counting_stream(70), 7),
                                               {.validation_fraction = 1.0});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().kind, Error::Kind::usage);
}

}  // namespace
}  // namespace unmask
