#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <limits>
#include <string>

#include <fmt/format.h>

#include "unmask/base/log.h"

namespace unmask {

// What the place that progress is written to can do.
struct Terminal {
  bool interactive = false;  // a line can be redrawn
  bool color = false;
  bool unicode = false;
  int columns = 80;
  int rows = 24;
};

// Of standard error: a terminal that has a name, and not "dumb", NO_COLOR (no-color.org) unset or
// empty, a UTF-8 locale, and its size now.
Terminal standard_error_terminal();

struct ProgressOptions {
  std::ostream* out = nullptr;                                   // null: standard error
  std::function<Terminal()> terminal = standard_error_terminal;  // asked at every drawing
  std::function<double()> seconds;                               // null: the steady clock
  double redraw_every = 0.1;                                     // seconds, interactive
  double line_every = 10;                                        // seconds, otherwise
};

// How far a long job is: on a terminal one line that is redrawn, elsewhere plain lines at
// intervals. Log lines written meanwhile stand above it. Updates between two drawings cost a clock
// reading and allocate nothing.
class Progress final : private StatusLine {
 public:
  struct Reading {
    int64_t step = 0;
    double loss = std::numeric_limits<double>::quiet_NaN();               // NaN: not shown
    double tokens_per_second = std::numeric_limits<double>::quiet_NaN();  // NaN: not shown
  };

  // `first`: steps done before (of a resumed run), which say nothing about the speed.
  Progress(std::string title, int64_t total, int64_t first = 0, ProgressOptions options = {});
  ~Progress();  // leaves the last state on a line of its own
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(const Reading& reading);
  void finish();  // states the time taken; nothing is drawn afterwards

 private:
  void erase() override;
  void draw() override;
  void draw_bar_line(const Terminal& terminal);
  void write_plain_line();
  double seconds_left() const;

  std::string title_;
  int64_t total_;
  int64_t first_;
  ProgressOptions options_;
  Reading reading_;
  double started_;
  double drawn_at_;
  bool drawn_ = false;  // the line stands on the terminal
  bool finished_ = false;
  fmt::memory_buffer line_;
};

}  // namespace unmask
