#include "unmask/text/utf8.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utf8proc.h>

#include "unmask/base/utf8.h"

namespace unmask {
namespace {

constexpr uint64_t kHighBits = 0x8080808080808080u;

size_t ascii_prefix(std::string_view text, size_t from) {
  size_t i = from;
  for (uint64_t word; i + 8 <= text.size(); i += 8) {
    std::memcpy(&word, text.data() + i, 8);
    if (word & kHighBits) break;
  }
  while (i < text.size() && static_cast<uint8_t>(text[i]) < 0x80) ++i;
  return i;
}

// Bytes of the well-formed sequence at `i` (table 3-7 of the Unicode standard), 0 if it is none.
size_t sequence_size(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) {
    return i + k < text.size() ? static_cast<uint8_t>(text[i + k]) : uint8_t{0};
  };
  const auto continues = [&](size_t k) { return (byte(k) & 0xC0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const uint8_t low = first == 0xE0 ? 0xA0 : 0x80;
    const uint8_t high = first == 0xED ? 0x9F : 0xBF;
    return byte(1) >= low && byte(1) <= high && continues(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const uint8_t low = first == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xF4 ? 0x8F : 0xBF;
    return byte(1) >= low && byte(1) <= high && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

void append_normalized(std::string_view text, std::string& out) {
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  UNMASK_CHECK(size >= 0);
  out.append(reinterpret_cast<const char*>(result), static_cast<size_t>(size));
  std::free(result);
}

}  // namespace

std::string to_valid_utf8(std::string_view text) {
  std::string valid;
  for (size_t i = 0; i < text.size();) {
    const size_t size = sequence_size(text, i);
    valid += size > 0 ? text.substr(i, size) : "\uFFFD";
    i += std::max<size_t>(size, 1);
  }
  return valid;
}

Status check_utf8(std::string_view text) {
  size_t i = 0;
  while ((i = ascii_prefix(text, i)) < text.size()) {
    const size_t size = sequence_size(text, i);
    if (size == 0) {
      return failure(
          "expected UTF-8 text, found byte 0x{:02x} at offset {}; convert the text first",
          static_cast<uint8_t>(text[i]), i);
    }
    i += size;
  }
  return {};
}

CodePoint code_point_at(std::string_view text, size_t offset) {
  const auto byte = [&](size_t k) {
    return static_cast<char32_t>(static_cast<uint8_t>(text[offset + k]));
  };
  const char32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (first < 0xF0) return {(first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

CodePoint code_point_before(std::string_view text, size_t offset) {
  do {
    --offset;
  } while (continues_character(text[offset]));
  return code_point_at(text, offset);
}

void append_utf8(char32_t c, std::string& text) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

int terminal_width(char32_t code_point) {
  return utf8proc_charwidth(static_cast<utf8proc_int32_t>(code_point));
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::string to_nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t i = 0;
  while (i < text.size()) {
    // Composition never crosses an ASCII character except that marks join the one before them, so
    // only runs of other characters, with that one in front, have to be looked at.
    size_t run = ascii_prefix(text, i);
    if (run > i && run < text.size()) --run;
    out.append(text, i, run - i);
    size_t end = run < text.size() && static_cast<uint8_t>(text[run]) < 0x80 ? run + 1 : run;
    bool normal = true;  // below U+0300 every character stands for itself
    while (end < text.size() && static_cast<uint8_t>(text[end]) >= 0x80) {
      const CodePoint c = code_point_at(text, end);
      normal = normal && c.value < 0x300;
      end += c.size;
    }
    const std::string_view piece = text.substr(run, end - run);
    if (normal) {
      out.append(piece);
    } else {
      append_normalized(piece, out);
    }
    i = end;
  }
  return out;
}

}  // namespace unmask
