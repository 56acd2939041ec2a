#include "unmask/base/memory.h"

#include <cstring>

#include <gtest/gtest.h>

#include "unmask/base/arena.h"

namespace unmask {
namespace {

TEST(Memory, NoMoreIsAvailableThanThereIs) {
  EXPECT_GT(available_memory(), 0);
  EXPECT_LE(available_memory(), physical_memory());
}

TEST(Memory, ThePeakIsWhatWasTouched) {
  constexpr int64_t kBytes = int64_t{64} << 20;
  const Buffer buffer(size_t{kBytes});
  std::memset(buffer.data(), 1, buffer.size());
  EXPECT_GE(peak_memory(), kBytes);
  EXPECT_LE(peak_memory(), physical_memory());
}

}  // namespace
}  // namespace unmask
