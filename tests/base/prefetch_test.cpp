#include "unmask/base/prefetch.h"

#include <gtest/gtest.h>

#include "unmask/base/memory.h"

namespace unmask {
namespace {

// A function that calls none: its variables may stand below the stack pointer.
[[gnu::noinline]] int64_t sum_while_looking(const char* one, const char* other) {
  volatile int64_t values[16];
  for (int64_t i = 0; i < 16; ++i) values[i] = i;
  look_for_pages(one, other);
  int64_t sum = 0;
  for (int64_t i = 0; i < 16; ++i) sum += values[i];
  return sum;
}

// It is a return that goes elsewhere, past reads that never happen.
TEST(Prefetch, LookingForPagesChangesNothingAndReadsNothing) {
  const Buffer memory(size_t{1} << 20);
  const auto* const bytes = memory.as<char>();
  for (int64_t page = 0; page < 200; ++page) {
    EXPECT_EQ(sum_while_looking(bytes + page * kPageBytes, bytes), 120);
    EXPECT_EQ(sum_while_looking(nullptr, nullptr), 120);
  }
}

}  // namespace
}  // namespace unmask
