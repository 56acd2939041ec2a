#pragma once

#include <optional>
#include <string>

#include "unmask/base/result.h"

namespace unmask {

// What Tokenizer::load reads of a directory.
inline constexpr const char* kTokenizerFiles[] = {
    "tokenizer.json", "tokenizer.model",       "vocab.json",
    "merges.txt",     "tokenizer_config.json", "chat_template.jinja"};

// The files that hold tokens, the one to be preferred first.
inline constexpr const char* kVocabularies[] = {"tokenizer.json", "tokenizer.model", "vocab.json"};

// The file with its tokens.
std::optional<std::string> vocabulary_in(const std::string& directory);

// Copies those that are there; a link to nothing is an error.
Status copy_tokenizer_files(const std::string& from, const std::string& to);

}  // namespace unmask
