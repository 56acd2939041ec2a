#include "unmask/text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "unmask/text/utf8.h"

namespace unmask {

void AddedTokens::add(Token token) {
  if (token.content.empty()) return;
  auto& list = by_first_byte_[static_cast<uint8_t>(token.content.front())];
  const auto place = std::find_if(list.begin(), list.end(), [&](const Token& other) {
    return other.content.size() < token.content.size();
  });
  list.insert(place, std::move(token));
}

const AddedTokens::Token* AddedTokens::match_at(std::string_view text, size_t offset) const {
  for (const Token& token : by_first_byte_[static_cast<uint8_t>(text[offset])]) {
    if (text.substr(offset).starts_with(token.content)) return &token;
  }
  return nullptr;
}

void AddedTokens::split(std::string_view text, std::vector<Section>& sections) const {
  size_t begin = 0;  // of the section being read
  for (size_t i = 0; i < text.size();) {
    const Token* token = match_at(text, i);
    if (token == nullptr) {
      ++i;
      continue;
    }
    size_t end = i + token->content.size();
    while (token->strips_left && i > begin) {
      const CodePoint c = code_point_before(text, i);
      if (!is_white_space(c.value)) break;
      i -= c.size;
    }
    while (token->strips_right && end < text.size()) {
      const CodePoint c = code_point_at(text, end);
      if (!is_white_space(c.value)) break;
      end += c.size;
    }
    if (i > begin) sections.push_back({text.substr(begin, i - begin)});
    sections.push_back({text.substr(i, end - i), token->id});
    begin = i = end;
  }
  if (begin < text.size()) sections.push_back({text.substr(begin)});
}

}  // namespace unmask
