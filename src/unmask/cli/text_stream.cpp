#include "unmask/cli/text_stream.h"

#include <algorithm>
#include <cstdio>

#include "unmask/base/utf8.h"

namespace unmask::cli {
namespace {

size_t character_bytes(char lead) {
  const auto c = static_cast<unsigned char>(lead);
  return c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

size_t whole_characters(std::string_view text) {
  constexpr size_t kLongest = 4;
  for (size_t back = 1; back <= std::min(kLongest, text.size()); ++back) {
    const size_t lead = text.size() - back;
    if (continues_character(text[lead])) continue;
    return character_bytes(text[lead]) > back ? lead : text.size();
  }
  return text.size();
}

void TextStream::show(std::string_view text) {
  const size_t end =
      whole_characters(text.substr(0, text.size() - std::min(text.size(), held_back_)));
  if (end <= shown_) return;
  print(text.substr(shown_, end - shown_));
  shown_ = end;
}

void TextStream::finish(std::string_view text) {
  if (text.size() > shown_) print(text.substr(shown_));
  shown_ = text.size();
}

}  // namespace unmask::cli
