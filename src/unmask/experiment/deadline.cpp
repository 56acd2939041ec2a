#include "unmask/experiment/deadline.h"

#include <chrono>

namespace unmask {

Deadline::Deadline(double seconds, const std::atomic<bool>& interrupted) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const auto spent = [this, begin, seconds, &interrupted] {
    const std::chrono::duration<double> passed = Clock::now() - begin;
    if (interrupted.load() || passed.count() >= seconds) stop_ = true;
    return stop_.load();
  };
  if (spent()) return;
  watch_ = std::jthread([spent](const std::stop_token& leave) {
    while (!leave.stop_requested() && !spent()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
}

}  // namespace unmask
