#pragma once

#include <chrono>

namespace unmask {

// Seconds of a clock that never goes back, from some moment on.
inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace unmask
