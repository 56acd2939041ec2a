#pragma once

#include <initializer_list>
#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

// What a directory says of its tokenizer beside its vocabulary.
struct TokenizerConfig {
  SpecialTokens special;
  std::string chat_template = {};    // in Jinja; empty when there is none
  nlohmann::json added_tokens = {};  // {id: {content, lstrip, …}}, as in tokenizer.json
  std::string tokenizer_class = {};  // of Hugging Face's Python code
};

// From tokenizer_config.json, whose mask and end tokens are under what the caller says, and
// chat_template.jinja, which takes the place of a template in it. Both may be missing.
Result<TokenizerConfig> read_tokenizer_config(const std::string& directory,
                                              const SpecialTokens& caller);

// Names by which published models call the two.
inline constexpr std::initializer_list<const char*> kUsualMaskNames = {
    "<|mask|>", "<|mask_token|>", "<|mdm_mask|>", "<|MASK|>", "<mask>", "[MASK]"};
inline constexpr std::initializer_list<const char*> kUsualEndNames = {
    "<|endoftext|>", "<|end_of_text|>", "<|end▁of▁sentence|>", "</s>", "<eos>", "[EOS]"};

// Writes tokenizer_config.json. What is empty is left out.
Status write_tokenizer_config(const std::string& directory, const std::string& tokenizer_class,
                              const std::string& mask, const std::string& end,
                              const std::string& chat_template);

}  // namespace unmask
