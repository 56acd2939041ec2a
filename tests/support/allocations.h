#pragma once

#include <cstdint>

namespace unmask::test {

// How often memory was taken from the heap so far, by any thread. A program that calls this has
// its operator new replaced by one that counts.
int64_t heap_allocations();

}  // namespace unmask::test
