#include "unmask/base/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string_view>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "unmask/base/clock.h"
#include "unmask/base/readable.h"

namespace unmask {
namespace {

constexpr int kNarrowestBar = 8;
constexpr int kWidestBar = 40;

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool locale_is_unicode() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string_view locale = variable(name);
    if (locale.empty()) continue;
    return locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
  }
  return false;
}

// A part of the line; the least important are left out when the terminal is narrow.
struct Part {
  std::string text;
  int importance;
};

// Sum of the widths with a separator of three columns between parts.
int width(const std::vector<Part>& parts) {
  int columns = 0;
  for (const Part& part : parts) columns += static_cast<int>(part.text.size()) + 3;
  return std::max(columns - 3, 0);
}

void drop_least_important(std::vector<Part>& parts) {
  parts.erase(std::min_element(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    return a.importance < b.importance;
  }));
}

// Eighths of a block where the terminal knows them.
std::string bar(double share, int columns, bool unicode) {
  constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * columns * 8));
  std::string drawn;
  for (int i = 0; i < eighths / 8; ++i) drawn += unicode ? "█" : "#";
  if (unicode) drawn += kEighths[static_cast<size_t>(eighths % 8)];
  const int used = eighths / 8 + (unicode && eighths % 8 != 0 ? 1 : 0);
  for (int i = used; i < columns; ++i) drawn += unicode ? " " : ".";
  return drawn;
}

}  // namespace

Terminal standard_error_terminal() {
  Terminal terminal;
  terminal.interactive =
      ::isatty(STDERR_FILENO) == 1 && variable("TERM") != "dumb" && !variable("TERM").empty();
  terminal.color = variable("NO_COLOR").empty();
  terminal.unicode = locale_is_unicode();
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0) {
    if (size.ws_col > 0) terminal.columns = size.ws_col;
    if (size.ws_row > 0) terminal.rows = size.ws_row;
  }
  return terminal;
}

Progress::Progress(std::string title, int64_t total, int64_t first, ProgressOptions options)
    : title_(std::move(title)), total_(total), first_(first), options_(std::move(options)) {
  if (options_.out == nullptr) options_.out = &std::cerr;
  if (!options_.seconds) options_.seconds = seconds_now;
  reading_.step = first;
  started_ = options_.seconds();
  drawn_at_ = -std::numeric_limits<double>::infinity();
  const auto lock = lock_terminal();
  set_status_line(this);
}

Progress::~Progress() {
  if (!finished_) {
    const auto lock = lock_terminal();
    if (drawn_) *options_.out << std::endl;
    set_status_line(nullptr);
  }
}

void Progress::update(const Reading& reading) {
  const auto lock = lock_terminal();
  if (finished_) return;
  reading_ = reading;
  const double now = options_.seconds();
  if (now - drawn_at_ < options_.redraw_every) return;
  const Terminal terminal = options_.terminal();
  if (!terminal.interactive && now - drawn_at_ < options_.line_every) return;
  drawn_at_ = now;
  if (terminal.interactive) {
    draw_bar_line(terminal);
  } else {
    write_plain_line();
  }
}

void Progress::finish() {
  const auto lock = lock_terminal();
  if (finished_) return;
  erase();
  set_status_line(nullptr);
  finished_ = true;
  *options_.out << fmt::format("{}: {} of {} in {}", title_, readable_integer(reading_.step),
                               readable_integer(total_),
                               readable_duration(options_.seconds() - started_));
  if (!std::isnan(reading_.loss)) *options_.out << fmt::format(", loss {:.3f}", reading_.loss);
  *options_.out << std::endl;
}

void Progress::erase() {
  if (drawn_) *options_.out << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

void Progress::draw() {
  const Terminal terminal = options_.terminal();
  if (terminal.interactive && std::isfinite(drawn_at_)) draw_bar_line(terminal);
}

double Progress::seconds_left() const {
  const auto done = static_cast<double>(reading_.step - first_);
  const double elapsed = options_.seconds() - started_;
  return done > 0 ? elapsed / done * static_cast<double>(total_ - reading_.step)
                  : std::numeric_limits<double>::quiet_NaN();
}

void Progress::draw_bar_line(const Terminal& terminal) {
  const double share =
      total_ > 0 ? static_cast<double>(reading_.step) / static_cast<double>(total_) : 0;
  const std::string percent = fmt::format("{:3.0f}%", std::floor(100 * share));
  std::vector<Part> parts;
  parts.push_back(
      {fmt::format("{}/{}", readable_integer(reading_.step), readable_integer(total_)), 3});
  if (!std::isnan(reading_.loss)) parts.push_back({fmt::format("loss {:.3f}", reading_.loss), 4});
  if (!std::isnan(reading_.tokens_per_second)) {
    parts.push_back({readable_count(reading_.tokens_per_second) + " tok/s", 1});
  }
  parts.push_back({readable_duration(seconds_left()) + " left", 2});

  // The last column stays free: some terminals wrap as soon as it is written.
  const int columns = terminal.columns - 1;
  const int head = static_cast<int>(title_.size() + 1 + percent.size());
  const auto room = [&] { return columns - head - 2 - width(parts); };
  while (!parts.empty() && room() < 0) drop_least_important(parts);
  int bar_columns = std::min(room() - 2, kWidestBar);
  if (bar_columns < kNarrowestBar) bar_columns = 0;

  const auto paint = [&](std::string_view code) { return terminal.color ? code : ""; };
  line_.clear();
  const auto out = std::back_inserter(line_);
  fmt::format_to(out, "\r\x1b[K{}{}{} ", paint("\x1b[1m"), title_, paint("\x1b[0m"));
  if (bar_columns > 0) {
    fmt::format_to(out, "{}{}{} ", paint("\x1b[36m"), bar(share, bar_columns, terminal.unicode),
                   paint("\x1b[0m"));
  }
  fmt::format_to(out, "{}", percent);
  for (size_t i = 0; i < parts.size(); ++i) {
    fmt::format_to(out, "{}{}", i == 0 ? "  " : terminal.unicode ? " · " : " | ", parts[i].text);
  }
  if (head <= columns) *options_.out << std::string_view(line_.data(), line_.size()) << std::flush;
  drawn_ = head <= columns;
}

void Progress::write_plain_line() {
  line_.clear();
  const auto out = std::back_inserter(line_);
  fmt::format_to(out, "{}: {} of {}", title_, readable_integer(reading_.step),
                 readable_integer(total_));
  if (!std::isnan(reading_.loss)) fmt::format_to(out, ", loss {:.3f}", reading_.loss);
  if (!std::isnan(reading_.tokens_per_second)) {
    fmt::format_to(out, ", {} tokens/s", readable_count(reading_.tokens_per_second));
  }
  fmt::format_to(out, ", {} left\n", readable_duration(seconds_left()));
  *options_.out << std::string_view(line_.data(), line_.size()) << std::flush;
}

}  // namespace unmask
