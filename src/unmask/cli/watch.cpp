#include "unmask/cli/watch.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "unmask/base/log.h"
#include "unmask/cli/interrupt.h"
#include "unmask/text/utf8.h"

namespace unmask::cli {
namespace {

constexpr const char* kRestore = "\x1b[?25h\x1b[?1049l";

enum class Style { given, committed, fresh, masked };

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
  const auto is_there = [position](const Commit& c) { return c.position == position; };
  const bool fresh =
      std::ranges::any_of(event.commits, is_there) || std::ranges::any_of(event.edits, is_there);
  return fresh ? Style::fresh : Style::committed;
}

// Generated text is not trusted with the terminal: what is no UTF-8, and control characters other
// than newlines, are shown as replaced or as a dot.
std::string printable(std::string_view text) {
  const std::string whole = to_valid_utf8(text);
  std::string result;
  for (size_t i = 0; i < whole.size();) {
    const CodePoint c = code_point_at(whole, i);
    const bool control = (c.value < 0x20 && c.value != '\n') || (c.value >= 0x7f && c.value < 0xa0);
    result += control ? "." : whole.substr(i, c.size);
    i += c.size;
  }
  return result;
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

std::string Watch::text(std::span<const int32_t> tokens) const {
  if (tokenizer_ == nullptr) return fmt::format("{} ", fmt::join(tokens, " "));
  return tokenizer_->decode_behind(tokens);
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
    if (style != Style::masked) {
      run = printable(text(event.canvas.tokens().subspan(begin, end - begin)));
    }

    const char* const color = terminal_.color ? color_of(style) : "";
    const char* const reset = *color ? "\x1b[0m" : "";
    lines.back() += color;
    for (size_t i = 0; i < run.size();) {
      const CodePoint c = code_point_at(run, i);
      const int width = terminal_width(c.value);
      if (c.value == '\n' || column + width > terminal_.columns) {
        lines.back() += reset;
        lines.emplace_back(color);
        column = 0;
      }
      if (c.value != '\n') {
        lines.back().append(run, i, c.size);
        column += width;
      }
      i += c.size;
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
    print_note("{} | {}\n", heading, printable(canvas));
    return;
  }
  terminal_ = standard_error_terminal();  // which may have another size now
  const std::vector<std::string> all = lines(event);
  const auto height = static_cast<size_t>(std::max(terminal_.rows - 2, 1));
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
