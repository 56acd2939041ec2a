#include "unmask/cli/interrupt.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

namespace unmask::cli {
namespace {

std::atomic<bool> interrupted = false;
std::atomic<const char*> farewell = nullptr;

// As the signal ends a program that does not expect it.
void end_by(int signal) {
  if (const char* const text = farewell) {
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

const std::atomic<bool>& cancel_on_interrupt() {
  struct sigaction action {};
  action.sa_handler = [](int) {
    if (interrupted.exchange(true)) end_by(SIGINT);
  };
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  return interrupted;
}

void set_farewell(const char* text) {
  farewell = text;
  std::signal(SIGTERM, text != nullptr ? &end_by : SIG_DFL);
}

const std::atomic<bool>& stop_on_signal() {
  for (const int signal : {SIGINT, SIGTERM}) {
    std::signal(signal, [](int) {
      if (interrupted.exchange(true)) _exit(130);
    });
  }
  return interrupted;
}

void end_by_interrupt() {
  std::fflush(nullptr);
  std::signal(SIGINT, SIG_DFL);
  std::raise(SIGINT);
  std::_Exit(130);  // where SIGINT is blocked
}

}  // namespace unmask::cli
