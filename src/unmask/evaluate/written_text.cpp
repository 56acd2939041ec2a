#include "unmask/evaluate/written_text.h"

#include <algorithm>
#include <span>

namespace unmask {
namespace {

// The tokens from `first` on, which is at most the length of the prompt.
std::string text_from(size_t first, const Generation& generation, const Tokenizer& tokenizer,
                      const StopStrings& stops) {
  const std::span<const int32_t> tokens = generation.tokens;
  const auto kept = tokens.subspan(std::min(first, tokens.size()));
  if (!generation.stopped) return tokenizer.decode(kept);
  // The kept tokens may hold the beginning of a stop string whose end stands in the next ones.
  const auto masked = generation.canvas.masked();
  const auto end = static_cast<size_t>(std::ranges::find(masked, 1) - masked.begin());
  const auto prompt = static_cast<size_t>(prompt_length(generation.canvas));
  const auto all = generation.canvas.tokens().subspan(first, end - first);
  const size_t given = tokenizer.decode_behind(all.first(prompt - first)).size();
  const std::string written = tokenizer.decode_behind(all).substr(given);
  return tokenizer.decode_first(given + stops.before(written).size(), kept);
}

}  // namespace

int32_t prompt_length(const Canvas& canvas) {
  const auto given = canvas.given();
  return static_cast<int32_t>(std::ranges::find(given, 0) - given.begin());
}

void end_at(const TextEnds& ends, const Tokenizer& tokenizer, GenerateOptions& options) {
  options.stop_tokens = ends.tokens;
  if (ends.strings.empty()) return;
  options.stop = [&stops = ends.strings, &tokenizer](std::span<const int32_t> written) {
    return stops.tokens_before(written, tokenizer);
  };
}

std::string written_text(const Generation& generation, const Tokenizer& tokenizer,
                         const StopStrings& stops) {
  const auto prompt = static_cast<size_t>(prompt_length(generation.canvas));
  return text_from(prompt, generation, tokenizer, stops);
}

std::string whole_text(const Generation& generation, const Tokenizer& tokenizer,
                       const StopStrings& stops) {
  return text_from(0, generation, tokenizer, stops);
}

}  // namespace unmask
