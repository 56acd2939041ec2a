#pragma once

#include <string>

#include "unmask/base/result.h"

namespace unmask {

// The text of a tokenizer.json from vocab.json and merges.txt, which are all that Hugging Face's
// slow Qwen2Tokenizer saves (SDAR's). How it cuts words stands in that class's code alone, so
// another class is an error. Its added tokens are in tokenizer_config.json.
Result<std::string> join_vocabulary_and_merges(const std::string& directory,
                                               const std::string& tokenizer_class);

}  // namespace unmask
