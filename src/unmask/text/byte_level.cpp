#include "unmask/text/byte_level.h"

#include <cstdint>

#include "unmask/text/utf8.h"

namespace unmask {

const std::array<char32_t, 256>& byte_level_alphabet() {
  static const std::array<char32_t, 256> alphabet = [] {
    std::array<char32_t, 256> characters = {};
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      characters[byte] = printable ? byte : next++;
    }
    return characters;
  }();
  return alphabet;
}

std::optional<std::string> from_byte_level(std::string_view token) {
  // The alphabet ends at U+0143.
  static const std::array<int16_t, 0x144> byte_of = [] {
    std::array<int16_t, 0x144> bytes;
    bytes.fill(-1);
    for (size_t byte = 0; byte < 256; ++byte) {
      bytes[byte_level_alphabet()[byte]] = static_cast<int16_t>(byte);
    }
    return bytes;
  }();
  std::string result;
  for (size_t i = 0; i < token.size();) {
    const CodePoint c = code_point_at(token, i);
    if (c.value >= byte_of.size() || byte_of[c.value] < 0) return std::nullopt;
    result.push_back(static_cast<char>(byte_of[c.value]));
    i += c.size;
  }
  return result;
}

std::string to_byte_level(uint8_t byte) {
  std::string text;
  append_utf8(byte_level_alphabet()[byte], text);
  return text;
}

}  // namespace unmask
