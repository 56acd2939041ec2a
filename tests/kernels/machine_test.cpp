#include "unmask/kernels/machine.h"

#include <gtest/gtest.h>

namespace unmask {
namespace {

// Of a small model the experts are less than what is read at once.
TEST(Machine, ReadsLittleAndUnevenMemoryToo) {
  for (const size_t bytes : {64, 1000, 32768, 100000, (3 << 20) + 8}) {
    const Buffer memory(bytes);
    EXPECT_GT(read_rate({memory.data(), bytes}), 0) << bytes << " bytes";
  }
}

}  // namespace
}  // namespace unmask
