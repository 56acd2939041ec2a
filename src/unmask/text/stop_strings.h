#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

// Texts at which a generated text ends; they are no part of it.
class StopStrings {
 public:
  // Refuses empty ones.
  static Result<StopStrings> create(std::vector<std::string> strings);

  bool empty() const { return strings_.empty(); }
  // The text before the first of them.
  std::string_view before(std::string_view text) const;
  // Bytes at the end of a growing text that may turn out to begin one.
  size_t held_back() const;

  // GenerateOptions::stop: the tokens that hold the text before the first of them, -1 without any.
  // The last may hold more than that text.
  int32_t tokens_before(std::span<const int32_t> written, const Tokenizer& tokenizer) const;

  // The text of these tokens, which stand behind others, up to a stop string.
  std::string text_before(std::span<const int32_t> written, const Tokenizer& tokenizer) const;

 private:
  std::vector<std::string> strings_;
};

// Where a generated text ends, besides the end tokens of its model.
struct TextEnds {
  StopStrings strings = {};
  std::vector<int32_t> tokens = {};

  // Those of an answer in a conversation: the texts of `stop`, and what ends a message: a token of
  // its own where the tokenizer has one, else a text.
  static Result<TextEnds> of_answers(const Tokenizer& tokenizer,
                                     std::vector<std::string> stop = {});
};

}  // namespace unmask
