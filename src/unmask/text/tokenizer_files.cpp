#include "unmask/text/tokenizer_files.h"

#include <filesystem>

namespace unmask {

Status copy_tokenizer_files(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  for (const char* name : kTokenizerFiles) {
    const fs::path source = fs::path(from) / name;
    std::error_code code;
    if (!fs::exists(source, code)) continue;
    if (!fs::copy_file(source, fs::path(to) / name, fs::copy_options::overwrite_existing, code)) {
      return failure("{}: cannot copy to {}: {}", source.string(), to, code.message());
    }
  }
  return {};
}

}  // namespace unmask
