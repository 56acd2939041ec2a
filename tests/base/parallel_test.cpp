#include "unmask/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

class ParallelTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_thread_count(GetParam()); }
  void TearDown() override { set_thread_count(before_); }
  int before_ = thread_count();
};

TEST_P(ParallelTest, VisitsEveryIndexOnce) {
  for (const int64_t count : {0, 1, 2, 3, 1000}) {
    std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
    parallel_for(count, [&](int64_t i) { ++visits[static_cast<size_t>(i)]; });
    for (const auto& n : visits) EXPECT_EQ(n, 1);
  }
  parallel_for(-1, [](int64_t) { ADD_FAILURE(); });
}

TEST_P(ParallelTest, SaysWhatComesNext) {
  constexpr int64_t kCount = 1000;
  std::vector<std::atomic<int>> visits(kCount);
  std::atomic<int64_t> foreseen = 0;
  parallel_for_ahead(kCount, [&](int64_t i, int64_t next) {
    ++visits[static_cast<size_t>(i)];
    EXPECT_TRUE(next == -1 || next == i + 1 || next == i - 1);
    foreseen += next >= 0;
  });
  for (const auto& n : visits) EXPECT_EQ(n, 1);
  EXPECT_GE(foreseen, kCount / 2);
}

TEST_P(ParallelTest, ThreadsKeepWhatTheyLikeBetweenTasks) {
  constexpr int64_t kCount = 1000;
  std::mutex mutex;
  std::vector<int64_t> taken;
  int threads = 0;
  parallel_tasks(kCount, [&](ThreadTasks& tasks) {
    std::vector<int64_t> mine;
    for (auto t = tasks.take(); t.task >= 0; t = tasks.take()) mine.push_back(t.task);
    EXPECT_EQ(tasks.take().task, -1);
    const std::scoped_lock lock(mutex);
    taken.insert(taken.end(), mine.begin(), mine.end());
    ++threads;
  });
  std::sort(taken.begin(), taken.end());
  std::vector<int64_t> all(kCount);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(taken, all);
  EXPECT_TRUE(threads >= 1 && threads <= GetParam());
}

TEST_P(ParallelTest, NestedCallsRunToTheEnd) {
  std::atomic<int> sum = 0;
  parallel_for(10, [&](int64_t) { parallel_for(10, [&](int64_t) { ++sum; }); });
  EXPECT_EQ(sum, 100);
}

TEST_P(ParallelTest, PiecesDependOnTheGrainAlone) {
  std::mutex mutex;
  std::set<std::pair<int64_t, int64_t>> pieces;
  parallel_pieces(10, 4, [&](int64_t begin, int64_t end) {
    const std::scoped_lock lock(mutex);
    pieces.emplace(begin, end);
  });
  EXPECT_EQ(pieces, (std::set<std::pair<int64_t, int64_t>>{{0, 4}, {4, 8}, {8, 10}}));
  parallel_pieces(0, 4, [](int64_t, int64_t) { ADD_FAILURE(); });
}

INSTANTIATE_TEST_SUITE_P(Threads, ParallelTest, testing::Values(1, 2, 5));

TEST(ThreadCount, IsAtLeastOne) {
  const int before = thread_count();
  EXPECT_GE(before, 1);
  set_thread_count(0);
  EXPECT_EQ(thread_count(), 1);
  set_thread_count(3);
  EXPECT_EQ(thread_count(), 3);
  set_thread_count(before);
}

}  // namespace
}  // namespace unmask
