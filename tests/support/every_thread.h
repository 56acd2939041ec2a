#pragma once

#include <barrier>
#include <mutex>

#include "unmask/base/parallel.h"

namespace unmask::test {

// Runs body once on each thread that parallel_for uses, one after the other. What a thread keeps
// for later, such as its scratch memory, is then there on all of them, also on a machine so busy
// that a thread had come to no work of its own before.
template <class F>
void on_every_thread(F&& body) {
  std::barrier all_here(thread_count());
  std::mutex one_at_a_time;
  parallel_for(thread_count(), [&](int64_t) {
    all_here.arrive_and_wait();  // so that no thread takes a second turn
    const std::lock_guard lock(one_at_a_time);
    body();
  });
}

}  // namespace unmask::test
