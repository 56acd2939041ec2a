#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "unmask/base/result.h"

namespace unmask {

// An error that names the offset of the first byte that is not UTF-8 (RFC 3629: no surrogates, no
// overlong forms, nothing above U+10FFFF).
Status check_utf8(std::string_view text);

// Each byte that is not UTF-8 replaced by U+FFFD.
std::string to_valid_utf8(std::string_view text);

// Code points of valid UTF-8.
struct CodePoint {
  char32_t value = 0;
  size_t size = 0;  // bytes
};
CodePoint code_point_at(std::string_view text, size_t offset);
CodePoint code_point_before(std::string_view text, size_t offset);
void append_utf8(char32_t code_point, std::string& text);

// Cells of a terminal that it takes: 0 to 2.
int terminal_width(char32_t code_point);

// Unicode property White_Space.
bool is_white_space(char32_t code_point);

// Normalization form C of valid UTF-8.
std::string to_nfc(std::string_view text);

}  // namespace unmask
