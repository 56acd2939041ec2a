#include "unmask/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <immintrin.h>
#include <mutex>
#include <sched.h>
#include <thread>
#include <vector>

#include "unmask/base/log.h"

namespace unmask {
namespace {

int initial_threads() {
  if (const char* text = std::getenv("UNMASK_THREADS"); text != nullptr && *text != '\0') {
    if (const int n = std::atoi(text); n > 0) return n;
    log_warning("UNMASK_THREADS={}: expected a number of threads; using all cores", text);
  }
  cpu_set_t cpus;
  return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? std::max(CPU_COUNT(&cpus), 1) : 1;
}

int& threads() {
  static int n = initial_threads();
  return n;
}

thread_local bool inside = false;  // a parallel_for

// Helpers that wait for jobs: awake for some hundred microseconds, as jobs of a training step
// follow each other, then asleep: waking one takes as long as many jobs of a small model. (OpenMP's
// threads stay awake for milliseconds: with other programs on the machine a step took a hundred
// times as long.) Whoever posts a job works at it too and never waits for a helper that has not
// begun, so a machine that is busy elsewhere costs speed only.
class Pool {
 public:
  ~Pool() {
    stop_ = true;
    state_.fetch_add(kGeneration);
    state_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
  }

  // False when another thread has the pool.
  bool run(int64_t count, detail::Body body, void* context, int workers) {
    const std::unique_lock lock(busy_, std::try_to_lock);
    if (!lock) return false;
    while (std::ssize(helpers_) < workers - 1) {
      const int index = static_cast<int>(helpers_.size());
      helpers_.emplace_back([this, index] { help(index); });
    }
    body_ = body;
    context_ = context;
    wanted_ = workers - 1;
    tasks_.deal(count, workers);
    state_.fetch_add(kGeneration | kOpen, std::memory_order_release);
    state_.notify_all();
    work(0);
    uint64_t state = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    wait_until(state, [](uint64_t s) { return (s & kActive) == 0; });
    return true;
  }

 private:
  // One word says which job it is, whether it can still be joined, and how many helpers are in it.
  static constexpr uint64_t kActive = 0xffff;
  static constexpr uint64_t kOpen = 0x10000;
  static constexpr uint64_t kGeneration = 0x20000;
  static constexpr int kAwake = 10000;  // pauses, 0.2 to 0.6 milliseconds

  template <class Condition>
  void wait_until(uint64_t& state, Condition condition) {
    for (int spin = 0; !condition(state); state = state_.load(std::memory_order_acquire)) {
      if (++spin < kAwake) {
        _mm_pause();
      } else {
        state_.wait(state, std::memory_order_acquire);
      }
    }
  }

  void work(int64_t share) {
    inside = true;
    ThreadTasks mine(tasks_, share);
    body_(context_, mine);
    inside = false;
  }

  void help(int index) {
    uint64_t joined = 0;  // the last job that this helper had a look at
    uint64_t state = state_.load(std::memory_order_acquire);
    while (true) {
      wait_until(state,
                 [&](uint64_t s) { return stop_ || ((s & kOpen) && s / kGeneration != joined); });
      if (stop_) return;
      if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
      joined = state / kGeneration;
      if (index < wanted_) work(index + 1);
      state = state_.fetch_sub(1, std::memory_order_acq_rel) - 1;
      if ((state & (kActive | kOpen)) == 0) state_.notify_all();
    }
  }

  std::mutex busy_;
  std::atomic<uint64_t> state_ = 0;
  std::atomic<bool> stop_ = false;
  // Of the job: written before it is opened, read by those who joined it.
  detail::Body body_ = nullptr;
  void* context_ = nullptr;
  TaskShares tasks_;
  int64_t wanted_ = 0;
  std::vector<std::thread> helpers_;
};

}  // namespace

int thread_count() { return threads(); }

void set_thread_count(int n) { threads() = std::max(n, 1); }

namespace detail {

void run_parallel(int64_t count, Body body, void* context) {
  static Pool pool;
  const auto workers = static_cast<int>(std::min<int64_t>(count, threads()));
  if (workers > 1 && !inside && pool.run(count, body, context, workers)) return;
  ThreadTasks all(count);
  body(context, all);
}

}  // namespace detail
}  // namespace unmask
