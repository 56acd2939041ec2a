#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace unmask::cli {

// Prints a growing text to standard output as it grows: whole characters only, and not the last
// `held_back` bytes, which may turn out not to belong to it.
class TextStream {
 public:
  explicit TextStream(size_t held_back) : held_back_(held_back) {}

  void show(std::string_view text);
  // The whole text: what is missing is printed.
  void finish(std::string_view text);

 private:
  size_t held_back_;
  size_t shown_ = 0;
};

// Bytes of the longest prefix that does not end inside a UTF-8 character.
size_t whole_characters(std::string_view text);

}  // namespace unmask::cli
