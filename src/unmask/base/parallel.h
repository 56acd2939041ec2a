#pragma once

#include <cstdint>
#include <type_traits>

namespace unmask {

// Number of threads that parallel_for uses: UNMASK_THREADS, else all cores this process may run on.
int thread_count();
void set_thread_count(int threads);

namespace detail {
using Body = void (*)(void* context, int64_t index, int64_t next);
void run_parallel(int64_t count, Body body, void* context);
}  // namespace detail

// body(i, next) for every i in [0, count), below 2^31, in any order, on any thread: tasks are
// handed out one by one, so they may differ in length, and to each thread neighbours as long as
// there are some (task_shares.h). `next` is the task that the same thread will run afterwards, or
// -1 where that is not known: it may fetch its memory ahead. Nested calls run on the calling
// thread. The body must not throw.
template <class F>
void parallel_for_ahead(int64_t count, F&& body) {
  using Function = std::remove_reference_t<F>;
  detail::run_parallel(
      count,
      [](void* context, int64_t i, int64_t next) { (*static_cast<Function*>(context))(i, next); },
      const_cast<void*>(static_cast<const void*>(&body)));
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
