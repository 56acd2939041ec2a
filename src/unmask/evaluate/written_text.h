#pragma once

#include <cstdint>
#include <string>

#include "unmask/diffusion/generate.h"
#include "unmask/text/stop_strings.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

// What a continuation has written, without the prompt, as text: up to a stop string, an end token
// or the first masked position.
std::string written_text(const Generation& generation, const Tokenizer& tokenizer,
                         const StopStrings& stops);

// The same with the prompt, which it stands behind: the first token of an answer can be one that
// begins with a space, which decoding leaves out at the beginning of a text.
std::string whole_text(const Generation& generation, const Tokenizer& tokenizer,
                       const StopStrings& stops);

// Lets texts end there; all outlive `options`.
void end_at(const TextEnds& ends, const Tokenizer& tokenizer, GenerateOptions& options);

}  // namespace unmask
