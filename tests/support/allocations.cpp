#include "tests/support/allocations.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<int64_t> count{0};
}  // namespace

void* operator new(size_t size) {
  ++count;
  if (void* memory = std::malloc(std::max(size, size_t{1}))) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace unmask::test {

int64_t heap_allocations() { return count; }

}  // namespace unmask::test
