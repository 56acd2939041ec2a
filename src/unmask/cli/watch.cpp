#include "unmask/cli/watch.h"

#include <algorithm>
#include <cstdio>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "unmask/base/log.h"
#include "unmask/base/utf8.h"
#include "unmask/cli/interrupt.h"

namespace unmask::cli {
namespace {

constexpr const char* kRestore = "\x1b[?25h\x1b[?1049l";

enum class Style { given, committed, fresh, masked };

int terminal_rows() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

const char* color_of(Style style) {
  switch (style) {
    case Style::given:
      return "\x1b[2m";
    case Style::committed:
      return "";
    case Style::fresh:
      return "\x1b[1;32m";
    case Style::masked:
      return "\x1b[34m";
  }
  return "";
}

Style style_at(const DenoisingEvent& event, int32_t position) {
  if (event.canvas.masked()[position]) return Style::masked;
  if (event.canvas.given()[position]) return Style::given;
  const bool fresh = std::any_of(event.commits.begin(), event.commits.end(),
                                 [position](const Commit& c) { return c.position == position; });
  return fresh ? Style::fresh : Style::committed;
}

}  // namespace

Watch::Watch(const Tokenizer* tokenizer, Terminal terminal)
    : tokenizer_(tokenizer), terminal_(terminal) {
  // The alternate screen: what stood there before is back afterwards.
  if (!terminal_.interactive) return;
  set_farewell(kRestore);
  write_note("\x1b[?1049h\x1b[?25l");
}

Watch::~Watch() {
  if (!terminal_.interactive) return;
  write_note(kRestore);
  clear_farewell();
}

// Generated text is not trusted with the terminal: control characters other than newlines are shown
// as a dot.
std::string Watch::text(std::span<const int32_t> tokens) const {
  if (tokenizer_ == nullptr) return fmt::format("{} ", fmt::join(tokens, " "));
  std::string text = tokenizer_->decode_behind(tokens);
  for (char& c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f) c = '.';
  }
  return text;
}

// The canvas broken to the width of the terminal, each run of one style in its colour.
std::vector<std::string> Watch::lines(const DenoisingEvent& event) const {
  std::vector<std::string> lines(1);
  int column = 0;
  for (int32_t begin = 0, end = 0; begin < event.canvas.size(); begin = end) {
    const Style style = style_at(event, begin);
    while (end < event.canvas.size() && style_at(event, end) == style) ++end;
    std::string run;
    for (int32_t i = begin; style == Style::masked && i < end; ++i) {
      run += terminal_.unicode ? "\u2591" : "_";
    }
    if (style != Style::masked) run = text(event.canvas.tokens().subspan(begin, end - begin));

    const char* const color = terminal_.color ? color_of(style) : "";
    const char* const reset = *color ? "\x1b[0m" : "";
    lines.back() += color;
    for (const char c : run) {
      const bool new_character = !continues_character(c);
      if (c == '\n' || (new_character && column == terminal_.columns)) {
        lines.back() += reset;
        lines.emplace_back(color);
        column = 0;
      }
      if (c == '\n') continue;
      lines.back() += c;
      column += new_character;
    }
    lines.back() += reset;
  }
  return lines;
}

void Watch::show(const DenoisingEvent& event) {
  const std::string heading = fmt::format("step {}: {} committed, {} masked", event.step,
                                          event.commits.size(), event.canvas.masked_count());
  if (!terminal_.interactive) {
    std::string canvas;
    for (int32_t i = 0; i < event.canvas.size(); ++i) {
      canvas += event.canvas.masked()[i] ? "_" : text(event.canvas.tokens().subspan(i, 1));
    }
    std::replace(canvas.begin(), canvas.end(), '\n', ' ');
    print_note("{} | {}\n", heading, canvas);
    return;
  }
  const std::vector<std::string> all = lines(event);
  const auto height = static_cast<size_t>(std::max(terminal_rows() - 2, 1));
  // Of a canvas taller than the screen, the part at the first masked position.
  const auto masked = event.canvas.masked();
  const auto first = std::find(masked.begin(), masked.end(), 1) - masked.begin();
  const size_t focus = all.size() * static_cast<size_t>(first) / masked.size();
  const size_t last = std::min(all.size(), std::max(height, focus + height / 2));
  std::string frame = fmt::format("\x1b[H{}\x1b[K\n", heading);
  for (size_t i = last > height ? last - height : 0; i < last; ++i) frame += all[i] + "\x1b[K\n";
  print_note("{}\x1b[J", frame);
}

}  // namespace unmask::cli
