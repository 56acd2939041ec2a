#include "unmask/text/tokenizer_files.h"

#include <filesystem>

#include "unmask/base/files.h"

namespace unmask {

std::optional<std::string> vocabulary_in(const std::string& directory) {
  namespace fs = std::filesystem;
  for (const char* name : kVocabularies) {
    const fs::path file = fs::path(directory) / name;
    if (path_exists(file)) return file.string();
  }
  return std::nullopt;
}

Status copy_tokenizer_files(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  for (const char* name : kTokenizerFiles) {
    const fs::path source = fs::path(from) / name;
    std::error_code code;
    if (fs::symlink_status(source, code).type() == fs::file_type::not_found) continue;
    if (!fs::copy_file(source, fs::path(to) / name, fs::copy_options::overwrite_existing, code)) {
      return failure("{}: cannot copy to {}: {}", source.string(), to, code.message());
    }
  }
  return {};
}

}  // namespace unmask
