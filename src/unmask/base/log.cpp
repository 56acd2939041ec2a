#include "unmask/base/log.h"

#include <cstdio>

namespace unmask {
namespace {
StatusLine* status_line = nullptr;
}

void write_note(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void write_log(std::string_view level, std::string_view text) {
  const auto lock = lock_terminal();
  if (status_line != nullptr) status_line->erase();
  print_note("{}{}\n", level, text);
  if (status_line != nullptr) status_line->draw();
}

void set_status_line(StatusLine* line) { status_line = line; }

std::unique_lock<std::mutex> lock_terminal() {
  static std::mutex mutex;
  return std::unique_lock(mutex);
}

}  // namespace unmask
