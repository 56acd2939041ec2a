#pragma once

#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "unmask/text/added_tokens.h"
#include "unmask/text/byte_pair_encoder.h"
#include "unmask/text/pre_tokenizer.h"
#include "unmask/text/special_tokens.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

// Byte-level BPE described by a Hugging Face tokenizer.json: added tokens, normalizer NFC or none,
// pre-tokenizers of pre_tokenizer.h. The post-processor, truncation and padding are not applied:
// `encode` gives the tokens of the text and nothing else. Added tokens with lstrip or rstrip
// swallow white space, which decoding cannot bring back. With add_prefix_space the space in front
// of a text is not decoded, that behind an added token is.
class HuggingFaceTokenizer final : public Tokenizer {
 public:
  // `json`: the text of the file, kept for `save`; `where` names it in errors. Added tokens of the
  // configuration that the file lacks are added; where the file has another with the same id, the
  // text of that token is the configuration's.
  static Result<std::unique_ptr<Tokenizer>> parse(std::string json, const std::string& where,
                                                  const TokenizerConfig& config);

  Result<std::vector<int32_t>> encode(std::string_view text) const override;
  Result<std::vector<int32_t>> encode_behind(std::string_view text) const override;
  int32_t vocab_size() const override { return static_cast<int32_t>(texts_.size()); }
  std::optional<int32_t> token_id(std::string_view name) const override;
  std::string token_text(int32_t id) const override;
  Status save(const std::string& directory) const override;
  bool separates_lines() const override { return separates_lines_; }

 protected:
  void finish_decoding(std::string& text) const override;

 private:
  struct Memory {
    MatchMemory match;
    BytePairEncoder::Memory merging;
    std::vector<std::string_view> words;
    std::vector<AddedTokens::Section> sections;
  };
  class Lease;

  HuggingFaceTokenizer() = default;
  Status read(const nlohmann::json& description, const TokenizerConfig& config);
  Status read_normalizer(const nlohmann::json& normalizer);
  Status read_vocabulary(const nlohmann::json& vocabulary);
  Status read_merges(const nlohmann::json& model);
  Status read_added_tokens(const nlohmann::json& tokens);
  Status read_tokens_of_config(const nlohmann::json& tokens);
  void set_token(int32_t id, std::string text);
  Result<int32_t> special_token(const std::string& name);
  Status choose_special_tokens(const SpecialTokens& special);
  Result<std::vector<int32_t>> encode(std::string_view text, bool begins) const;
  Status encode_section(std::string_view text, bool begins, Memory& memory,
                        std::vector<int32_t>& ids) const;
  Status find_whether_lines_separate();

  std::string json_;
  std::vector<std::string> texts_;                // by id: the bytes it decodes to
  std::unordered_map<std::string, int32_t> ids_;  // by name in the file
  std::unordered_set<std::string> added_;         // names of added tokens
  std::vector<nlohmann::json> declared_;          // added tokens that the file lacks
  bool nfc_ = false;
  AddedTokens raw_tokens_;         // found in the text as it is
  AddedTokens normalized_tokens_;  // found in the normalized text
  std::optional<PreTokenizer> pre_tokenizer_;
  std::optional<BytePairEncoder> encoder_;
  bool separates_lines_ = false;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Memory>> idle_;
};

}  // namespace unmask
