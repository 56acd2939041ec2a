#include "unmask/cli/interrupt.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <unistd.h>

namespace unmask::cli {
namespace {

std::atomic<bool> interrupted = false;
std::atomic<const char*> farewell = nullptr;

constexpr int kEnding[] = {SIGTERM, SIGQUIT, SIGHUP};
struct sigaction before_farewell[std::size(kEnding)];

// As the signal ends a program that does not expect it.
void end_by(int signal) {
  say_farewell();
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
  for (size_t i = 0; i < std::size(kEnding); ++i) {
    struct sigaction action {};
    action.sa_handler = &end_by;
    sigaction(kEnding[i], nullptr, &before_farewell[i]);
    if (before_farewell[i].sa_handler == SIG_DFL) sigaction(kEnding[i], &action, nullptr);
  }
}

void clear_farewell() {
  for (size_t i = 0; i < std::size(kEnding); ++i) {
    sigaction(kEnding[i], &before_farewell[i], nullptr);
  }
  farewell = nullptr;
}

void say_farewell() {
  const char* const text = farewell;
  if (text == nullptr) return;
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
}

const std::atomic<bool>& stop_on_signal() {
  for (const int signal : {SIGINT, SIGTERM}) {
    std::signal(signal, [](int) {
      if (interrupted.exchange(true)) _exit(130);
    });
  }
  return interrupted;
}

bool was_interrupted() { return interrupted; }

void end_by_interrupt() {
  std::fflush(nullptr);
  std::signal(SIGINT, SIG_DFL);
  std::raise(SIGINT);
  std::_Exit(130);  // where SIGINT is blocked
}

}  // namespace unmask::cli
