#pragma once

namespace unmask {

// Whether a byte of UTF-8 continues a character that began before it.
inline bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u; }

}  // namespace unmask
