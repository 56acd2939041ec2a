#include "unmask/cli/stop_strings.h"

#include <algorithm>
#include <utility>

#include "unmask/text/conversations.h"

namespace unmask::cli {

Result<StopStrings> StopStrings::create(std::vector<std::string> strings) {
  if (std::ranges::count(strings, std::string()) > 0) {
    return usage_error("--stop: expected a text of at least one character, found an empty one");
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
  const std::string text = tokenizer.decode(written);
  const size_t kept = before(text).size();
  if (kept == text.size()) return -1;
  size_t count = 0;
  while (tokenizer.decode(written.first(count)).size() < kept) ++count;
  return static_cast<int32_t>(count);
}

AnswerEnds::AnswerEnds(const Tokenizer& tokenizer, std::vector<std::string> stop)
    : strings(std::move(stop)) {
  if (const auto id = tokenizer.token_id(kRoleEnd)) {
    tokens.push_back(*id);
  } else {
    strings.emplace_back(kRoleEnd);
  }
}

int32_t prompt_length(const Canvas& canvas) {
  const auto given = canvas.given();
  return static_cast<int32_t>(std::ranges::find(given, 0) - given.begin());
}

std::string written_text(const Generation& generation, const Tokenizer& tokenizer,
                         const StopStrings& stops) {
  const auto prompt = static_cast<size_t>(prompt_length(generation.canvas));
  const std::span<const int32_t> tokens = generation.tokens;
  const std::string text = tokenizer.decode(tokens.subspan(std::min(prompt, tokens.size())));
  if (!generation.ended || stops.empty()) return text;
  // The kept tokens may hold the beginning of a stop string whose end stands in the next ones.
  const auto masked = generation.canvas.masked();
  const auto end = static_cast<size_t>(std::ranges::find(masked, 1) - masked.begin());
  const std::string all =
      tokenizer.decode(generation.canvas.tokens().subspan(prompt, end - prompt));
  return text.substr(0, std::min(text.size(), stops.before(all).size()));
}

}  // namespace unmask::cli
