#pragma once

#include <mutex>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace unmask {

// Lines for the person at the terminal, on standard error; results go to standard output.
void write_log(std::string_view level, std::string_view text);

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  write_log("", fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  write_log("warning: ", fmt::format(format, std::forward<Args>(args)...));
}

// Text for standard error as it stands: no line's end, no lock, the status line stays. What cannot
// be written is lost: nothing fails for it.
void write_note(std::string_view text);

template <class... Args>
void print_note(fmt::format_string<Args...> format, Args&&... args) {
  write_note(fmt::format(format, std::forward<Args>(args)...));
}

// A line kept at the bottom of the terminal while a job runs (progress.h). write_log erases it,
// writes above and draws it again.
class StatusLine {
 public:
  virtual void erase() = 0;
  virtual void draw() = 0;

 protected:
  ~StatusLine() = default;
};

// At most one at a time; null: none. Call, like whatever draws, with the lock of the terminal held.
void set_status_line(StatusLine* line);
std::unique_lock<std::mutex> lock_terminal();

}  // namespace unmask
