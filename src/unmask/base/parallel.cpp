#include "unmask/base/parallel.h"

#include <omp.h>

#include <cstdlib>

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

}  // namespace detail
}  // namespace unmask
