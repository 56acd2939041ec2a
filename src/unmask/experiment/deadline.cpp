#include "unmask/experiment/deadline.h"

#include <chrono>

namespace unmask {

Deadline::Deadline(std::optional<double> seconds, const std::atomic<bool>& interrupted) {
  using Clock = std::chrono::steady_clock;
  const auto end = seconds ? Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                std::chrono::duration<double>(*seconds))
                           : Clock::time_point::max();
  const auto spent = [this, end, &interrupted] {
    if (interrupted.load() || Clock::now() >= end) stop_ = true;
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
