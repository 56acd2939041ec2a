#pragma once

#include <memory>
#include <string>
#include <vector>

#include "unmask/text/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace unmask {

// A SentencePiece model, through its library. Models that normalize text (most published ones do)
// decode to the normalized text; those of `train_sentencepiece` to the very text.
class SentencePieceTokenizer final : public Tokenizer {
 public:
  // `model`: the bytes of the .model file; `where` names it in errors.
  static Result<std::unique_ptr<Tokenizer>> parse(std::string model, const std::string& where,
                                                  const SpecialTokens& special);
  ~SentencePieceTokenizer() override;

  Result<std::vector<int32_t>> encode(std::string_view text) const override;
  int32_t vocab_size() const override { return static_cast<int32_t>(texts_.size()); }
  std::optional<int32_t> token_id(std::string_view name) const override;
  std::string token_text(int32_t id) const override;
  Status save(const std::string& directory) const override;
  bool separates_lines() const override { return separates_lines_; }

 protected:
  void finish_decoding(std::string& text) const override;

 private:
  SentencePieceTokenizer();
  void read_pieces();
  bool find_whether_lines_separate() const;
  Status append_encoding(std::string_view text, std::vector<int32_t>& ids) const;
  int32_t special_token(const std::string& name);

  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::string model_;
  std::vector<std::string> texts_;     // by id: the bytes it decodes to
  std::vector<std::string> declared_;  // special tokens that the model lacks, behind its pieces
  std::vector<int32_t> space_symbol_;  // the bytes of U+2581, which stands for the space in pieces
  bool adds_prefix_space_ = false;
  bool separates_lines_ = false;
};

// Trains a BPE model on texts: no normalization, spaces kept, bytes for rare characters, so that
// decoding gives back every text; special pieces <unk>, </s> and <mask>. Returns the model file.
Result<std::string> train_sentencepiece(const std::vector<std::string>& texts, int32_t vocab_size);

}  // namespace unmask
