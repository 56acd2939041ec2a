#pragma once

#include <atomic>
#include <cstdint>

#include "unmask/base/parallel.h"

namespace unmask {

// body(task, following) for every task of [0, count), in ascending order as threads become free.
// `following` is the task that the same thread will run next, or -1: it may fetch its memory ahead.
template <class Body>
void parallel_tasks_ahead(int64_t count, Body body) {
  std::atomic<int64_t> next = 0;
  const auto take = [&] {
    const int64_t task = next.fetch_add(1, std::memory_order_relaxed);
    return task < count ? task : -1;
  };
  parallel_for(thread_count(), [&](int64_t) {
    for (int64_t task = take(); task >= 0;) {
      const int64_t following = take();
      body(task, following);
      task = following;
    }
  });
}

}  // namespace unmask
