#pragma once

#include <cstdint>
#include <type_traits>

namespace unmask {

// Number of threads that parallel_for uses: UNMASK_THREADS, else all cores this process may run on.
int thread_count();
void set_thread_count(int threads);

namespace detail {
using Body = void (*)(void* context, int64_t index);
void run_parallel(int64_t count, Body body, void* context);
}  // namespace detail

// body(i) for every i in [0, count), in any order, on any thread: tasks are handed out one by one,
// so they may differ in length. Nested calls run on the calling thread. The body must not throw.
template <class F>
void parallel_for(int64_t count, F&& body) {
  using Function = std::remove_reference_t<F>;
  detail::run_parallel(
      count, [](void* context, int64_t i) { (*static_cast<Function*>(context))(i); },
      const_cast<void*>(static_cast<const void*>(&body)));
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
