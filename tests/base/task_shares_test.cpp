#include "unmask/base/task_shares.h"

#include <atomic>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

using Pair = std::pair<int64_t, int64_t>;

Pair take(TaskShares& tasks, int64_t share) {
  const TaskShares::Taken taken = tasks.take(share);
  return {taken.task, taken.next};
}

TEST(TaskShares, BeginWithNeighboursAndHelpFromTheEnd) {
  TaskShares tasks;
  tasks.deal(7, 2);  // 0 1 2 | 3 4 5 6
  EXPECT_EQ(take(tasks, 0), Pair(0, 1));
  EXPECT_EQ(take(tasks, 0), Pair(1, 2));
  EXPECT_EQ(take(tasks, 0), Pair(2, -1));
  EXPECT_EQ(take(tasks, 0), Pair(6, 5));
  EXPECT_EQ(take(tasks, 1), Pair(3, 4));
  EXPECT_EQ(take(tasks, 1), Pair(4, 5));
  EXPECT_EQ(take(tasks, 0), Pair(5, -1));
  EXPECT_EQ(take(tasks, 1), Pair(-1, -1));
}

TEST(TaskShares, HelpWhereMostIsLeft) {
  TaskShares tasks;
  tasks.deal(9, 3);  // 0 1 2 | 3 4 5 | 6 7 8
  for (int i = 0; i < 3; ++i) tasks.take(0);
  tasks.take(1);
  EXPECT_EQ(take(tasks, 0), Pair(8, 7));
  EXPECT_EQ(take(tasks, 0), Pair(5, 4));
}

TEST(TaskShares, MayBeFewerThanShares) {
  TaskShares tasks;
  tasks.deal(1, 4);
  EXPECT_EQ(take(tasks, 0), Pair(0, -1));
  EXPECT_EQ(take(tasks, 3), Pair(-1, -1));
  tasks.deal(0, 2);
  EXPECT_EQ(take(tasks, 1), Pair(-1, -1));
}

TEST(TaskShares, EveryTaskIsTakenOnceByThreadsOfUnequalShares) {
  constexpr int64_t kTasks = 20000, kThreads = 4;
  TaskShares tasks;
  tasks.deal(kTasks, kThreads);
  std::vector<std::atomic<int>> taken(kTasks);
  std::vector<std::thread> threads;
  for (int64_t share = 0; share < kThreads - 1; ++share) {  // nobody begins with the last share
    threads.emplace_back([&, share] {
      for (int64_t t = tasks.take(share).task; t >= 0; t = tasks.take(share).task) {
        ++taken[static_cast<size_t>(t)];
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const auto& times : taken) EXPECT_EQ(times, 1);
}

}  // namespace
}  // namespace unmask
