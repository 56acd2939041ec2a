#pragma once

#include <atomic>
#include <thread>

namespace unmask {

// One flag for both reasons to stop: an interrupt, and a budget of time that is spent.
class Deadline {
 public:
  // `seconds` from now. `interrupted` outlives it.
  Deadline(double seconds, const std::atomic<bool>& interrupted);

  const std::atomic<bool>& stop() const { return stop_; }

 private:
  std::atomic<bool> stop_ = false;
  std::jthread watch_;  // ends with the object, before the flag goes
};

}  // namespace unmask
