#include "unmask/text/tokenizer.h"

#include <filesystem>

#include "unmask/base/files.h"
#include "unmask/text/byte_tokenizer.h"
#include "unmask/text/huggingface_tokenizer.h"
#include "unmask/text/sentencepiece_tokenizer.h"
#include "unmask/text/special_tokens.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

Result<std::unique_ptr<Tokenizer>> load_directory(const fs::path& directory,
                                                  const SpecialTokens& special) {
  UNMASK_TRY(const SpecialTokens names, configured_special_tokens(directory.string(), special));
  std::error_code code;
  if (const fs::path path = directory / "tokenizer.json"; fs::exists(path, code)) {
    UNMASK_TRY(std::string text, read_file(path.string()));
    return HuggingFaceTokenizer::parse(std::move(text), path.string(), names);
  }
  if (const fs::path path = directory / "tokenizer.model"; fs::exists(path, code)) {
    UNMASK_TRY(std::string model, read_file(path.string()));
    return SentencePieceTokenizer::parse(std::move(model), path.string(), names);
  }
  return failure("{}: expected a directory with tokenizer.json or tokenizer.model, found neither",
                 directory.string());
}

}  // namespace

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += token_text(id);
  finish_decoding(text);
  return text;
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string& path,
                                                   const SpecialTokens& special) {
  if (path == "byte") return std::unique_ptr<Tokenizer>(std::make_unique<ByteTokenizer>(special));
  std::error_code code;
  if (fs::is_directory(path, code)) return load_directory(path, special);
  const fs::path file(path);
  SpecialTokens names = special;
  if (file.filename() == "tokenizer.json" || file.filename() == "tokenizer.model") {
    UNMASK_TRY(names, configured_special_tokens(file.parent_path().string(), special));
  }
  UNMASK_TRY(std::string bytes, read_file(path));
  if (file.extension() == ".json") {
    return HuggingFaceTokenizer::parse(std::move(bytes), path, names);
  }
  if (file.extension() == ".model") {
    return SentencePieceTokenizer::parse(std::move(bytes), path, names);
  }
  return usage_error(
      "{}: expected \"byte\", a tokenizer.json, a SentencePiece .model or a directory with one",
      path);
}

}  // namespace unmask
