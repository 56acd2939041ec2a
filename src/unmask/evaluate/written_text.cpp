#include "unmask/evaluate/written_text.h"

#include <algorithm>
#include <span>

namespace unmask {

int32_t prompt_length(const Canvas& canvas) {
  const auto given = canvas.given();
  return static_cast<int32_t>(std::ranges::find(given, 0) - given.begin());
}

void end_at(const StopStrings& stops, const Tokenizer& tokenizer, GenerateOptions& options) {
  if (stops.empty()) return;
  options.stop = [&stops, &tokenizer](std::span<const int32_t> written) {
    return stops.tokens_before(written, tokenizer);
  };
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

}  // namespace unmask
