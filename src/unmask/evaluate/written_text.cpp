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
  const Canvas& canvas = generation.canvas;
  const auto prompt = static_cast<size_t>(canvas.prompt_length());
  const auto all = canvas.tokens().first(canvas.first_masked()).subspan(first);
  const size_t given = tokenizer.decode_behind(all.first(prompt - first)).size();
  const std::string written = tokenizer.decode_behind(all).substr(given);
  return tokenizer.decode_first(given + stops.before(written).size(), kept);
}

}  // namespace

void end_at(const TextEnds& ends, const Tokenizer& tokenizer, GenerateOptions& options) {
  options.stop_tokens = ends.tokens;
  if (ends.strings.empty()) return;
  options.stop = [&stops = ends.strings, &tokenizer](std::span<const int32_t> written) {
    return stops.tokens_before(written, tokenizer);
  };
}

std::string written_text(const Generation& generation, const Tokenizer& tokenizer,
                         const StopStrings& stops) {
  const auto prompt = static_cast<size_t>(generation.canvas.prompt_length());
  return text_from(prompt, generation, tokenizer, stops);
}

std::string whole_text(const Generation& generation, const Tokenizer& tokenizer,
                       const StopStrings& stops) {
  return text_from(0, generation, tokenizer, stops);
}

}  // namespace unmask
