#pragma once

#include <nlohmann/json_fwd.hpp>

#include "unmask/text/tokenizer.h"

namespace unmask {

// Ids 0 to 255 are the bytes themselves, 256 is the mask, 257 the end token. Any bytes are text:
// special tokens come from ids only, never from their names in a text.
class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(const SpecialTokens& names = {});

  Result<std::vector<int32_t>> encode(std::string_view text) const override;
  int32_t vocab_size() const override { return 258; }
  std::optional<int32_t> token_id(std::string_view name) const override;
  std::string token_text(int32_t id) const override;
  // Writes a tokenizer.json of byte-level BPE without merges, which other software reads too.
  Status save(const std::string& directory) const override;
  bool separates_lines() const override { return true; }

  // The tokenizer that `save` described, or null if the description is of another one.
  static std::unique_ptr<ByteTokenizer> recognise(const nlohmann::json& description,
                                                  const SpecialTokens& names);

 private:
  std::string mask_name_;
  std::string end_name_;
};

}  // namespace unmask
