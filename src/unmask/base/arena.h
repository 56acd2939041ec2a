#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "unmask/base/view.h"

namespace unmask {

// 64-byte aligned memory, zero-filled, on huge pages where the system grants them.
// Owns; moves, never copies. Throws std::bad_alloc when the system has no more.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Hands out pieces of blocks that are kept from step to step: after the first step of a kind,
// nothing is allocated. A piece lives until `reset` or until `release` of an earlier mark.
class Arena {
 public:
  struct Mark {
    size_t block = 0;
    size_t used = 0;
  };

  // On an empty arena: makes the next `bytes` taken (64 for every piece begun) lie in one block.
  void reserve(size_t bytes);

  // Uninitialised memory for `count` values of T, 64-byte aligned.
  template <class T>
  T* take(int64_t count) {
    return reinterpret_cast<T*>(take_bytes(static_cast<size_t>(count) * sizeof(T)));
  }
  // Uninitialised [rows, cols].
  Matrix matrix(int64_t rows, int64_t cols) { return Matrix(take<float>(rows * cols), rows, cols); }

  Mark mark() const { return {block_, used_}; }
  void release(Mark mark);
  void reset() { release({}); }

  size_t bytes_reserved() const;               // held from the system
  size_t bytes_peak() const { return peak_; }  // at least the most that was ever in use at once

 private:
  std::byte* take_bytes(size_t bytes);

  std::vector<Buffer> blocks_;
  size_t block_ = 0;   // the block in use
  size_t used_ = 0;    // bytes used of it
  size_t before_ = 0;  // bytes used of the blocks before it
  size_t peak_ = 0;
};

// Releases what was taken from the arena while it lived.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

// Scratch of the calling thread, for kernels: take inside an ArenaScope.
Arena& thread_scratch();

}  // namespace unmask
