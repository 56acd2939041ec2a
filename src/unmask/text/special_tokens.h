#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "unmask/base/result.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

// What tokenizer_config.json of a directory says about the mask and end tokens, under what the
// caller says; without that file, what the caller says.
Result<SpecialTokens> configured_special_tokens(const std::string& directory,
                                                const SpecialTokens& caller);

// Names by which published models call the two.
inline constexpr std::initializer_list<const char*> kUsualMaskNames = {
    "<|mask|>", "<|mask_token|>", "<|mdm_mask|>", "<|MASK|>", "<mask>", "[MASK]"};
inline constexpr std::initializer_list<const char*> kUsualEndNames = {
    "<|endoftext|>", "<|end_of_text|>", "<|end▁of▁sentence|>", "</s>", "<eos>", "[EOS]"};

// Writes tokenizer_config.json. Empty names are left out.
Status write_tokenizer_config(const std::string& directory, const std::string& tokenizer_class,
                              const std::string& mask, const std::string& end);

}  // namespace unmask
