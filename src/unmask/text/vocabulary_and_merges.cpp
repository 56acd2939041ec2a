#include "unmask/text/vocabulary_and_merges.h"

#include <filesystem>
#include <string_view>

#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"

namespace unmask {
namespace {

using nlohmann::json;

constexpr const char* kClass = "Qwen2Tokenizer";

// Contractions, letters with at most one other character in front, single digits, punctuation
// with the line ends behind it, line ends, other white space.
constexpr const char* kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

// One a line; the first line may name the version.
json merges_in(std::string_view text) {
  json merges = json::array();
  for (bool first = true; !text.empty(); first = false) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (first && line.starts_with("#version"))) continue;
    merges.push_back(line);
  }
  return merges;
}

}  // namespace

Result<std::string> join_vocabulary_and_merges(const std::string& directory,
                                               const std::string& tokenizer_class) {
  const std::filesystem::path place(directory);
  if (tokenizer_class != kClass && tokenizer_class != std::string(kClass) + "Fast") {
    return failure(
        "{}: has vocab.json and no tokenizer.json, which only the class {} can do without; "
        "tokenizer_config.json names {}",
        directory, kClass, tokenizer_class.empty() ? "none" : tokenizer_class);
  }
  UNMASK_TRY(const json vocabulary, read_json_file((place / "vocab.json").string()));
  UNMASK_TRY(const std::string merges, read_file((place / "merges.txt").string()));
  const json words = {{"type", "Split"},
                      {"pattern", {{"Regex", kQwen2Words}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  return to_text(
      json({{"added_tokens", json::array()},
            {"normalizer", {{"type", "NFC"}}},
            {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {words, bytes}}}},
            {"decoder", {{"type", "ByteLevel"}}},
            {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges_in(merges)}}}}));
}

}  // namespace unmask
