#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

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

}  // namespace unmask
