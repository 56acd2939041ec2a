#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"

namespace unmask {

// Names of the tokens that mean something to the engine. A name that the vocabulary lacks is added
// to it behind the last id (first mask, then end): so a base model that never had a mask token is
// given one. Without a name, the tokenizer's own configuration and the usual names decide.
struct SpecialTokens {
  std::optional<std::string> mask;
  std::optional<std::string> end;
};

// Text to token ids and back. Thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // The ids of a text. Names of special tokens inside it become those tokens where the format says
  // so (tokenizer.json); nothing is added before or after. Text must be UTF-8, except for the byte
  // tokenizer; the error names the offset of the first bad byte.
  virtual Result<std::vector<int32_t>> encode(std::string_view text) const = 0;

  // The ids of a text that stands behind others: nothing that marks the beginning of a text is put
  // in front of it, where the format can do without.
  virtual Result<std::vector<int32_t>> encode_behind(std::string_view text) const {
    return encode(text);
  }

  // The bytes of the ids, special tokens by their names: exact inverse of `encode` on UTF-8 text
  // that the tokenizer's normalizer leaves as it is. Ids outside the vocabulary give nothing.
  std::string decode(std::span<const int32_t> ids) const;

  // The bytes of ids that stand behind others: the first keeps the space that it may begin with.
  std::string decode_behind(std::span<const int32_t> ids) const;

  // The text of the first so many bytes of decode_behind's.
  std::string decode_first(size_t bytes, std::span<const int32_t> ids) const;

  // Number of rows that the embedding needs: the largest id + 1.
  virtual int32_t vocab_size() const = 0;

  virtual std::optional<int32_t> token_id(std::string_view name) const = 0;

  // What the id adds to a decoded text; half a character where a token is one.
  virtual std::string token_text(int32_t id) const = 0;

  // Writes the files that make `directory` loadable again, special tokens included.
  virtual Status save(const std::string& directory) const = 0;

  // encode(a + b) == encode(a) + encode(b) when a ends in an ASCII letter and b begins with a
  // newline: long texts can be encoded in pieces.
  virtual bool separates_lines() const = 0;

  // The id of a masked position; nullopt when the vocabulary has none and none was declared.
  std::optional<int32_t> mask_token() const { return mask_token_; }
  // Ends and joins documents, ends a generated answer.
  std::optional<int32_t> end_token() const { return end_token_; }

  // How its publisher puts conversations together, in Jinja (chat_template.h); may be empty.
  const std::string& chat_template() const { return chat_template_; }

  // From tokenizer.json, a SentencePiece .model, "byte", or a directory that holds one of them (a
  // checkpoint). Features of tokenizer.json that are not understood are errors that name them.
  static Result<std::unique_ptr<Tokenizer>> load(const std::string& path,
                                                 const SpecialTokens& special = {});

 protected:
  // Removes from the decoded text what encoding put in front of it.
  virtual void finish_decoding(std::string&) const {}

  std::optional<int32_t> mask_token_;
  std::optional<int32_t> end_token_;
  std::string chat_template_;
};

}  // namespace unmask
