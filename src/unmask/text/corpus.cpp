#include "unmask/text/corpus.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "unmask/base/files.h"
#include "unmask/base/log.h"
#include "unmask/text/conversations.h"
#include "unmask/text/documents.h"
#include "unmask/text/token_file.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kMaxTextInMemory = uintmax_t{512} << 20;

bool has_extension(const fs::path& path, std::initializer_list<const char*> extensions) {
  const std::string own = path.extension().string();
  return std::any_of(extensions.begin(), extensions.end(),
                     [&](const char* extension) { return own == extension; });
}

// The files of data in a directory, by name; a token dataset once, by its index.
Result<std::vector<std::string>> list_directory(const std::string& directory) {
  std::vector<std::string> files;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(directory, code)) {
    if (has_extension(entry.path(), {".txt", ".jsonl", ".idx"})) {
      files.push_back(entry.path().string());
    }
  }
  if (code) return failure("{}: cannot list: {}", directory, code.message());
  if (files.empty()) {
    return failure("{}: expected .txt, .jsonl or .idx files, found none", directory);
  }
  std::sort(files.begin(), files.end());
  return files;
}

Result<bool> is_conversation_file(const std::string& path) {
  if (is_token_file(path)) return false;
  UNMASK_TRY(const TextForm form, text_form(path));
  return form == TextForm::conversations;
}

Result<std::unique_ptr<SequenceSource>> open_conversations(const std::vector<std::string>& files,
                                                           const Tokenizer& tokenizer,
                                                           int32_t sequence_length) {
  auto sequences = std::make_unique<ConversationSequences>(sequence_length, *tokenizer.end_token());
  for (const std::string& file : files) {
    UNMASK_TRY_STATUS(read_conversations(file, tokenizer, *sequences));
  }
  if (sequences->count() == 0 && sequences->left_out() == 0) {
    return failure("{}: expected conversations with messages of an assistant, found none to learn",
                   files.front());
  }
  if (sequences->left_out() > 0) {
    log_warning("{} answers left out: their prompts fill the {} tokens of a sequence",
                sequences->left_out(), sequence_length);
  }
  return std::unique_ptr<SequenceSource>(std::move(sequences));
}

}  // namespace

bool is_token_file(const std::string& path) {
  return has_extension(path, {".bin", ".idx"}) ||
         (!path_exists(path) && path_exists(path + ".idx"));
}

Result<std::vector<std::string>> corpus_files(std::span<const std::string> paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code code;
    if (fs::is_directory(path, code)) {
      UNMASK_TRY(const auto inside, list_directory(path));
      files.insert(files.end(), inside.begin(), inside.end());
    } else if (is_token_file(path) || fs::is_regular_file(path, code)) {
      files.push_back(path);
    } else {
      return failure(
          "{}: expected a text file, JSON lines, a token dataset or a directory of them, "
          "found nothing there",
          path);
    }
  }
  if (files.empty()) return usage_error("expected the path of a corpus, found none");
  return files;
}

Result<std::unique_ptr<SequenceSource>> open_corpus(std::span<const std::string> paths,
                                                    const Tokenizer& tokenizer,
                                                    int32_t sequence_length) {
  if (!tokenizer.end_token()) {
    return failure("the tokenizer has no end token to join documents with; declare one");
  }
  UNMASK_TRY(const auto files, corpus_files(paths));
  size_t conversations = 0;
  for (const std::string& file : files) {
    UNMASK_TRY(const bool is_conversation, is_conversation_file(file));
    conversations += is_conversation;
  }
  if (conversations == files.size()) {
    return open_conversations(files, tokenizer, sequence_length);
  }
  if (conversations > 0) return failure("conversations and text cannot be mixed in one corpus");

  std::vector<std::unique_ptr<TokenStream>> parts;
  uintmax_t text_bytes = 0;
  for (const std::string& file : files) {
    if (is_token_file(file)) {
      UNMASK_TRY(auto tokens,
                 TokenFile::open(file, tokenizer.vocab_size(), *tokenizer.end_token()));
      parts.push_back(std::move(tokens));
      continue;
    }
    std::error_code code;
    text_bytes += fs::file_size(file, code);
    if (text_bytes > kMaxTextInMemory) {
      return failure(
          "{}: more than {} MB of text is not tokenized into memory; write a token "
          "dataset once with `unmask tokenize` and name that",
          file, kMaxTextInMemory >> 20);
    }
    auto buffer = std::make_unique<TokenBuffer>(*tokenizer.end_token());
    UNMASK_TRY_STATUS(tokenize_documents(file, tokenizer, *buffer));
    parts.push_back(std::move(buffer));
  }
  return cut_sequences(join_streams(std::move(parts)), sequence_length);
}

}  // namespace unmask
