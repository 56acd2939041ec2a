#include "unmask/text/tokenizer.h"

#include <filesystem>

#include "unmask/base/files.h"
#include "unmask/text/byte_tokenizer.h"
#include "unmask/text/huggingface_tokenizer.h"
#include "unmask/text/sentencepiece_tokenizer.h"
#include "unmask/text/special_tokens.h"
#include "unmask/text/tokenizer_files.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

Result<std::unique_ptr<Tokenizer>> parse(const fs::path& file, const SpecialTokens& names) {
  UNMASK_TRY(std::string bytes, read_file(file.string()));
  if (file.extension() == ".json") {
    return HuggingFaceTokenizer::parse(std::move(bytes), file.string(), names);
  }
  if (file.extension() == ".model") {
    return SentencePieceTokenizer::parse(std::move(bytes), file.string(), names);
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
          "{}: expected a directory with tokenizer.json or tokenizer.model, found neither", path);
    }
    file = *found;
  }
  TokenizerConfig config = {special, ""};
  if (file.filename() == "tokenizer.json" || file.filename() == "tokenizer.model") {
    UNMASK_TRY(config, read_tokenizer_config(file.parent_path().string(), special));
  }
  UNMASK_TRY(auto tokenizer, parse(file, config.special));
  tokenizer->chat_template_ = std::move(config.chat_template);
  return tokenizer;
}

}  // namespace unmask
