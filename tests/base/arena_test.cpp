#include "unmask/base/arena.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/memory.h"

namespace unmask {
namespace {

bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 64 == 0; }

TEST(Buffer, IsZeroedAndAligned) {
  for (const size_t bytes : {size_t{1}, size_t{100}, size_t{3} << 20}) {
    const Buffer buffer(bytes);
    EXPECT_TRUE(aligned(buffer.data()));
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_TRUE(std::all_of(buffer.data(), buffer.data() + bytes,
                            [](std::byte b) { return b == std::byte{0}; }));
    std::memset(buffer.data(), 1, bytes);  // all of it is ours: the sanitizers watch
  }
  EXPECT_EQ(Buffer(0).data(), nullptr);
  for (const size_t bytes : {kHugePage, 3 * kHugePage + 1}) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(Buffer(bytes).data()) % kHugePage, 0u);
  }
}

TEST(Buffer, Moves) {
  Buffer a(100);
  const std::byte* data = a.data();
  Buffer b = std::move(a);
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(a.data(), nullptr);
  a = std::move(b);
  EXPECT_EQ(a.data(), data);
  EXPECT_EQ(a.size(), 100u);
}

TEST(Arena, PiecesAreAlignedAndApart) {
  Arena arena;
  std::vector<std::pair<std::byte*, int64_t>> pieces;
  for (int64_t bytes : {1, 63, 64, 65, 0, 500000, 900000, 3000000, 10}) {
    std::byte* piece = arena.take<std::byte>(bytes);
    EXPECT_TRUE(aligned(piece));
    for (const auto& [other, size] : pieces) {
      EXPECT_TRUE(piece + bytes <= other || other + size <= piece);
    }
    std::memset(piece, 7, static_cast<size_t>(bytes));
    pieces.emplace_back(piece, bytes);
  }
}

TEST(Arena, MatrixIsContiguous) {
  Arena arena;
  const Matrix m = arena.matrix(3, 5);
  EXPECT_EQ(m.rows, 3);
  EXPECT_EQ(m.cols, 5);
  EXPECT_EQ(m.stride, m.cols);
}

TEST(Arena, TheSecondStepAllocatesNothing) {
  Arena arena;
  const auto step = [&] {
    std::vector<const void*> places;
    for (int i = 0; i < 50; ++i) places.push_back(arena.take<float>(100000 + i));
    return places;
  };
  const auto first = step();
  const size_t reserved = arena.bytes_reserved();
  arena.reset();
  EXPECT_EQ(step(), first);
  EXPECT_EQ(arena.bytes_reserved(), reserved);
}

TEST(Arena, ScopeReleasesWhatWasTakenInIt) {
  Arena arena;
  arena.take<float>(10);
  const float* outer;
  {
    ArenaScope scope(arena);
    outer = arena.take<float>(10);
    ArenaScope inner(arena);
    arena.take<float>(5000000);
  }
  EXPECT_EQ(arena.take<float>(10), outer);
}

TEST(Arena, PeakCoversWhatWasInUseAtOnce) {
  Arena arena;
  arena.take<std::byte>(1000);
  {
    ArenaScope scope(arena);
    arena.take<std::byte>(100000);
  }
  arena.take<std::byte>(1000);
  EXPECT_GE(arena.bytes_peak(), 101000u);
  EXPECT_LE(arena.bytes_peak(), 101000u + 2 * 64);
}

}  // namespace
}  // namespace unmask
