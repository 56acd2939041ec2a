#include "unmask/base/arena.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <utility>

#include "unmask/base/check.h"
#include "unmask/base/memory.h"

namespace unmask {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kBlock = size_t{1} << 20;

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

// Linux before 6.7 maps anywhere: what is too much on either side of whole huge pages goes back.
std::byte* map_aligned(size_t length) {
  void* const mapped =
      mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<std::byte*>(mapped);
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const size_t before = round_up(address, kHugePage) - address;
  if (before > 0) munmap(begin, before);
  munmap(begin + before + length, kHugePage - before);
  madvise(begin + before, length, MADV_HUGEPAGE);
  return begin + before;
}

}  // namespace

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  if (bytes >= kHugePage) {
    data_ = map_aligned(round_up(bytes, kHugePage));
  } else {
    const size_t length = round_up(bytes, kAlignment);
    data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, length));
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(data_, 0, length);
  }
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (size_ >= kHugePage) {
    munmap(data_, round_up(size_, kHugePage));
  } else {
    std::free(data_);
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void Arena::reserve(size_t bytes) {
  UNMASK_CHECK(block_ == 0 && used_ == 0);
  if (bytes == 0 || (!blocks_.empty() && blocks_.front().size() >= bytes)) return;
  blocks_.clear();
  blocks_.emplace_back(round_up(bytes, kBlock));
}

std::byte* Arena::take_bytes(size_t bytes) {
  bytes = round_up(std::max(bytes, size_t{1}), kAlignment);
  while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].size()) {
    before_ += used_;
    used_ = 0;
    ++block_;
  }
  if (block_ == blocks_.size()) {
    // Blocks double, so that even a large tape needs few of them.
    blocks_.emplace_back(round_up(std::max({bytes, kBlock, bytes_reserved()}), kBlock));
  }
  std::byte* piece = blocks_[block_].data() + used_;
  used_ += bytes;
  peak_ = std::max(peak_, before_ + used_);
  return piece;
}

void Arena::release(Mark mark) {
  // Later blocks restart from zero, so only the sum before the block in use must be rebuilt; it
  // bounds what was used from above, which is all `bytes_peak` promises.
  before_ = 0;
  for (size_t i = 0; i < mark.block; ++i) before_ += blocks_[i].size();
  block_ = mark.block;
  used_ = mark.used;
}

size_t Arena::bytes_reserved() const {
  size_t total = 0;
  for (const Buffer& block : blocks_) total += block.size();
  return total;
}

Arena& thread_scratch() {
  static thread_local Arena arena;
  return arena;
}

}  // namespace unmask
