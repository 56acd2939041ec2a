#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace unmask {

// Tokens that are found in a text before it is cut into words.
class AddedTokens {
 public:
  struct Token {
    std::string content;
    int32_t id = 0;
    bool strips_left = false;   // takes the white space in front of it
    bool strips_right = false;  // and behind it
  };
  // A piece of text, or a token where id >= 0.
  struct Section {
    std::string_view text;
    int32_t id = -1;
  };

  void add(Token token);  // of two with one beginning, the longer is found

  // Cuts a text at the tokens in it; appends to `sections`.
  void split(std::string_view text, std::vector<Section>& sections) const;

 private:
  const Token* match_at(std::string_view text, size_t offset) const;

  std::array<std::vector<Token>, 256> by_first_byte_;  // longest first
};

}  // namespace unmask
