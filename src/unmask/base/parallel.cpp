#include "unmask/base/parallel.h"

#include <cstdlib>
#include <omp.h>
#ifdef __SANITIZE_THREAD__
#include <atomic>
#include <thread>
#include <vector>
#endif

namespace unmask {
namespace {

int initial_threads() {
  if (const char* text = std::getenv("UNMASK_THREADS")) {
    if (const int n = std::atoi(text); n > 0) return n;
  }
  return omp_get_max_threads();
}

int& threads() {
  static int n = initial_threads();
  return n;
}

}  // namespace

int thread_count() { return threads(); }

void set_thread_count(int n) { threads() = n > 0 ? n : 1; }

namespace detail {

#ifdef __SANITIZE_THREAD__

// libgomp synchronises in ways that the thread sanitizer cannot see; plain threads it can.
void run_parallel(int64_t count, Body body, void* context) {
  static thread_local bool nested = false;
  if (count <= 1 || threads() == 1 || nested) {
    for (int64_t i = 0; i < count; ++i) body(context, i);
    return;
  }
  std::atomic<int64_t> next = 0;
  const auto work = [&] {
    nested = true;
    for (int64_t i = next++; i < count; i = next++) body(context, i);
    nested = false;
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads(); ++t) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

#else

void run_parallel(int64_t count, Body body, void* context) {
  if (count <= 0) return;
  if (count == 1 || threads() == 1 || omp_in_parallel()) {
    for (int64_t i = 0; i < count; ++i) body(context, i);
    return;
  }
  const int used = static_cast<int>(count < threads() ? count : threads());
#pragma omp parallel for schedule(dynamic, 1) num_threads(used)
  for (int64_t i = 0; i < count; ++i) body(context, i);
}

#endif

}  // namespace detail
}  // namespace unmask
