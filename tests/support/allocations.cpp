#include "tests/support/allocations.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<int64_t> count{0};
}  // namespace

// Every form that the standard library pairs with the two below.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  ++count;
  return std::malloc(std::max(size, size_t{1}));
}
void* operator new(size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace unmask::test {

int64_t heap_allocations() { return count; }

}  // namespace unmask::test
