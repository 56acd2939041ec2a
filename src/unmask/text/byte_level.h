#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace unmask {

// The alphabet of byte-level BPE (GPT-2): each byte has a printable character by which vocabularies
// in text form name it. Printable Latin-1 bytes are themselves, the others U+0100 and following.
const std::array<char32_t, 256>& byte_level_alphabet();

// The bytes that a token in that alphabet stands for; nullopt if it has another character.
std::optional<std::string> from_byte_level(std::string_view token);

// One byte as text in that alphabet.
std::string to_byte_level(uint8_t byte);

}  // namespace unmask
