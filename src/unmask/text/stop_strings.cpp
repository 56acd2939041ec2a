#include "unmask/text/stop_strings.h"

#include <algorithm>
#include <utility>

#include "unmask/text/chat_template.h"

namespace unmask {

Result<StopStrings> StopStrings::create(std::vector<std::string> strings) {
  if (std::ranges::count(strings, std::string()) > 0) {
    return usage_error("stop: expected a text of at least one character, found an empty one");
  }
  StopStrings result;
  result.strings_ = std::move(strings);
  return result;
}

std::string_view StopStrings::before(std::string_view text) const {
  size_t end = text.size();
  for (const std::string& s : strings_) end = std::min(end, text.find(s));
  return text.substr(0, end);
}

size_t StopStrings::held_back() const {
  size_t longest = 1;
  for (const std::string& s : strings_) longest = std::max(longest, s.size());
  return longest - 1;
}

int32_t StopStrings::tokens_before(std::span<const int32_t> written,
                                   const Tokenizer& tokenizer) const {
  const std::string text = tokenizer.decode_behind(written);
  const size_t kept = before(text).size();
  if (kept == text.size()) return -1;
  size_t count = 0;
  while (tokenizer.decode_behind(written.first(count)).size() < kept) ++count;
  return static_cast<int32_t>(count);
}

std::string StopStrings::text_before(std::span<const int32_t> written,
                                     const Tokenizer& tokenizer) const {
  return tokenizer.decode_first(before(tokenizer.decode_behind(written)).size(), written);
}

Result<TextEnds> TextEnds::of_answers(const Tokenizer& tokenizer, std::vector<std::string> stop) {
  TextEnds ends;
  const std::string_view end = ChatTemplate::of(tokenizer).end;
  if (const auto id = tokenizer.token_id(end)) {
    ends.tokens.push_back(*id);
  } else {
    stop.emplace_back(end);
  }
  UNMASK_TRY(ends.strings, StopStrings::create(std::move(stop)));
  return ends;
}

}  // namespace unmask
