#pragma once

#include <cstdint>
#include <span>

#include "unmask/base/arena.h"

namespace unmask {

// Uninitialised scratch of the calling thread, inside an ArenaScope of the caller's.
template <class T>
std::span<T> take_scratch(int64_t count) {
  return {thread_scratch().take<T>(count), static_cast<size_t>(count)};
}

}  // namespace unmask
