#include "unmask/cli/interrupt.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace unmask::cli {
namespace {

std::atomic<bool> interrupted = false;

}  // namespace

const std::atomic<bool>& cancel_on_interrupt() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = true; };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigaction(SIGINT, &action, nullptr);
  return interrupted;
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
