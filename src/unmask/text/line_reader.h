#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

namespace unmask {

// The lines of a text that are not blank, with their numbers.
class LineReader {
 public:
  struct Line {
    std::string_view text;
    int64_t number = 0;  // from 1
  };
  explicit LineReader(std::string_view text) : rest_(text) {}

  std::optional<Line> next() {
    while (!rest_.empty()) {
      const size_t end = std::min(rest_.find('\n'), rest_.size());
      const Line line = {rest_.substr(0, end), ++number_};
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      if (line.text.find_first_not_of(" \t\r") != std::string_view::npos) return line;
    }
    return std::nullopt;
  }

 private:
  std::string_view rest_;
  int64_t number_ = 0;
};

}  // namespace unmask
