#pragma once

#include <cstdint>
#include <type_traits>

#include "unmask/base/task_shares.h"

namespace unmask {

// Number of threads that parallel_for uses: UNMASK_THREADS, else all cores this process may run on.
int thread_count();
void set_thread_count(int threads);

// The tasks 0 … count - 1 of a loop, as one of its threads takes them: one by one, since they may
// differ in length, and neighbours as long as there are some (task_shares.h).
class ThreadTasks {
 public:
  using Taken = TaskShares::Taken;

  // All of them, on the calling thread.
  explicit ThreadTasks(int64_t count) : count_(count) {}
  ThreadTasks(TaskShares& shared, int64_t share) : shared_(&shared), share_(share) {}

  // task -1 when there is none left.
  Taken take() {
    if (shared_ != nullptr) return shared_->take(share_);
    if (begin_ >= count_) return {-1, -1};
    ++begin_;
    return {begin_ - 1, begin_ < count_ ? begin_ : -1};
  }

 private:
  TaskShares* shared_ = nullptr;
  int64_t share_ = 0;
  int64_t begin_ = 0, count_ = 0;
};

namespace detail {
using Body = void (*)(void* context, ThreadTasks& tasks);
void run_parallel(int64_t count, Body body, void* context);
}  // namespace detail

// body(tasks) once on every thread that takes part, to take tasks until there are none and to keep
// what it likes between them. `count` is below 2^31. Nested calls run on the calling thread. The
// body must not throw.
template <class F>
void parallel_tasks(int64_t count, F&& body) {
  using Function = std::remove_reference_t<F>;
  detail::run_parallel(
      count, [](void* context, ThreadTasks& tasks) { (*static_cast<Function*>(context))(tasks); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// body(i, next) for every i in [0, count), in any order, on any thread. `next` is the task that the
// same thread will run afterwards, or -1 where that is not known: it may fetch its memory ahead.
template <class F>
void parallel_for_ahead(int64_t count, F&& body) {
  parallel_tasks(count, [&](ThreadTasks& tasks) {
    for (auto taken = tasks.take(); taken.task >= 0; taken = tasks.take()) {
      body(taken.task, taken.next);
    }
  });
}

// body(i), the same without `next`.
template <class F>
void parallel_for(int64_t count, F&& body) {
  parallel_for_ahead(count, [&](int64_t i, int64_t /*next*/) { body(i); });
}

// body(begin, end) over pieces of [0, count) of `grain` elements; the cut does not depend on the
// number of threads, so that sums made per piece are the same on any machine.
template <class F>
void parallel_pieces(int64_t count, int64_t grain, F&& body) {
  parallel_for((count + grain - 1) / grain, [&](int64_t piece) {
    const int64_t begin = piece * grain;
    body(begin, begin + grain < count ? begin + grain : count);
  });
}

}  // namespace unmask
