#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "unmask/base/check.h"

namespace unmask {

// Tasks [0, count) for some threads: each begins with an equal share of neighbours, and who is done
// helps where most is left. Neighbours, because a processor fetches memory that is read in order
// past the end of what was asked for: better into a thread's next task than into the present one of
// another thread, whose caches may be far away. (Two cores of a Zen 5 that share no cache read
// pieces of 8 KB taken in turns at 23 GB/s, of 64 KB at 45, and halves of the whole at 64.)
class TaskShares {
 public:
  struct Taken {
    int64_t task;  // -1: all are taken
    int64_t next;  // what the same thread would take next, as far as is known; -1 else
  };

  void deal(int64_t count, int64_t shares) {
    UNMASK_CHECK(count <= INT32_MAX);
    if (shares > capacity_) {
      shares_ = std::make_unique<Share[]>(static_cast<size_t>(shares));
      capacity_ = shares;
    }
    size_ = shares;
    for (int64_t i = 0; i < shares; ++i) {
      shares_[i].left = Range{i * count / shares, (i + 1) * count / shares}.packed();
    }
  }

  // The first task left of a share; when there is none, the last one of the share with most left.
  Taken take(int64_t share) {
    uint64_t packed = shares_[share].left;
    for (Range left(packed); left.count() > 0; left = Range(packed)) {
      const Range rest = {left.begin + 1, left.end};
      if (shares_[share].left.compare_exchange_weak(packed, rest.packed())) {
        return {left.begin, rest.count() > 0 ? rest.begin : -1};
      }
    }
    return take_from_fullest();
  }

 private:
  struct Range {
    int64_t begin, end;

    Range(int64_t begin, int64_t end) : begin(begin), end(end) {}
    explicit Range(uint64_t packed)
        : begin(static_cast<int64_t>(packed & 0xffffffff)),
          end(static_cast<int64_t>(packed >> 32)) {}
    uint64_t packed() const {
      return static_cast<uint64_t>(end) << 32 | static_cast<uint64_t>(begin);
    }
    int64_t count() const { return end - begin; }
  };
  struct alignas(64) Share {
    std::atomic<uint64_t> left = 0;
  };

  Taken take_from_fullest() {
    while (true) {
      Share* fullest = nullptr;
      uint64_t packed = 0;
      for (int64_t i = 0; i < size_; ++i) {
        const uint64_t left = shares_[i].left;
        if (Range(left).count() > Range(packed).count()) {
          fullest = &shares_[i];
          packed = left;
        }
      }
      if (fullest == nullptr) return {-1, -1};
      const Range most(packed), rest = {most.begin, most.end - 1};
      if (fullest->left.compare_exchange_weak(packed, rest.packed())) {
        return {rest.end, rest.count() > 0 ? rest.end - 1 : -1};
      }
    }
  }

  std::unique_ptr<Share[]> shares_;
  int64_t capacity_ = 0;
  int64_t size_ = 0;
};

}  // namespace unmask
