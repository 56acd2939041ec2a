#include "unmask/text/tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "unmask/base/files.h"
#include "unmask/text/byte_tokenizer.h"
#include "unmask/text/huggingface_tokenizer.h"
#include "unmask/text/sentencepiece_tokenizer.h"
#include "unmask/text/special_tokens.h"
#include "unmask/text/tokenizer_files.h"
#include "unmask/text/vocabulary_and_merges.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

Result<std::unique_ptr<Tokenizer>> parse(const fs::path& file, const TokenizerConfig& config) {
  if (file.filename() == "vocab.json") {
    UNMASK_TRY(std::string description,
               join_vocabulary_and_merges(file.parent_path().string(), config.tokenizer_class));
    return HuggingFaceTokenizer::parse(std::move(description), file.string(), config);
  }
  UNMASK_TRY(std::string bytes, read_file(file.string()));
  if (file.extension() == ".json") {
    return HuggingFaceTokenizer::parse(std::move(bytes), file.string(), config);
  }
  if (file.extension() == ".model") {
    return SentencePieceTokenizer::parse(std::move(bytes), file.string(), config.special);
  }
  return usage_error(
      "{}: expected \"byte\", a tokenizer.json, a SentencePiece .model or a directory with one",
      file.string());
}

}  // namespace

std::string Tokenizer::decode_behind(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += token_text(id);
  return text;
}

std::string Tokenizer::decode_first(size_t bytes, std::span<const int32_t> ids) const {
  std::string text = decode_behind(ids).substr(0, bytes);
  finish_decoding(text);
  return text;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  return decode_first(std::string::npos, ids);
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string& path,
                                                   const SpecialTokens& special) {
  if (path == "byte") return std::unique_ptr<Tokenizer>(std::make_unique<ByteTokenizer>(special));
  std::error_code code;
  fs::path file(path);
  if (fs::is_directory(file, code)) {
    const auto found = vocabulary_in(path);
    if (!found) {
      return failure(
          "{}: expected a directory with tokenizer.json, tokenizer.model or vocab.json, found none",
          path);
    }
    file = *found;
  }
  TokenizerConfig config = {special};
  if (std::ranges::find(kVocabularies, file.filename()) != std::end(kVocabularies)) {
    UNMASK_TRY(config, read_tokenizer_config(file.parent_path().string(), special));
  }
  UNMASK_TRY(auto tokenizer, parse(file, config));
  tokenizer->chat_template_ = std::move(config.chat_template);
  return tokenizer;
}

}  // namespace unmask
