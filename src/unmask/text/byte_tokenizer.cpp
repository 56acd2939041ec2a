#include "unmask/text/byte_tokenizer.h"

#include <filesystem>

#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/text/byte_level.h"
#include "unmask/text/special_tokens.h"

namespace unmask {
namespace {

constexpr int32_t kMask = 256;
constexpr int32_t kEnd = 257;

nlohmann::json byte_vocabulary() {
  nlohmann::json vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[to_byte_level(static_cast<uint8_t>(byte))] = byte;
  }
  return vocabulary;
}

nlohmann::json added_token(int32_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

nlohmann::json byte_level_part() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", false}};
}

}  // namespace

ByteTokenizer::ByteTokenizer(const SpecialTokens& names)
    : mask_name_(names.mask.value_or("<|mask|>")), end_name_(names.end.value_or("<|endoftext|>")) {
  mask_token_ = kMask;
  end_token_ = kEnd;
}

Result<std::vector<int32_t>> ByteTokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids(text.size());
  for (size_t i = 0; i < text.size(); ++i) ids[i] = static_cast<uint8_t>(text[i]);
  return ids;
}

std::optional<int32_t> ByteTokenizer::token_id(std::string_view name) const {
  if (name == mask_name_) return kMask;
  if (name == end_name_) return kEnd;
  if (name.size() == 1) return static_cast<uint8_t>(name.front());
  return std::nullopt;
}

std::string ByteTokenizer::token_text(int32_t id) const {
  if (id == kMask) return mask_name_;
  if (id == kEnd) return end_name_;
  return id >= 0 && id < 256 ? std::string(1, static_cast<char>(id)) : std::string();
}

Status ByteTokenizer::save(const std::string& directory) const {
  const nlohmann::json description = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", {added_token(kMask, mask_name_), added_token(kEnd, end_name_)}},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level_part()},
      {"post_processor", nullptr},
      {"decoder", byte_level_part()},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", byte_vocabulary()},
        {"merges", nlohmann::json::array()}}}};
  const std::string path = (std::filesystem::path(directory) / "tokenizer.json").string();
  UNMASK_TRY_STATUS(write_file_atomically(path, to_text(description, 1) + "\n"));
  return write_tokenizer_config(directory, "PreTrainedTokenizerFast", mask_name_, end_name_,
                                chat_template_);
}

std::unique_ptr<ByteTokenizer> ByteTokenizer::recognise(const nlohmann::json& description,
                                                        const SpecialTokens& names) {
  const auto& model = description.at("model");
  if (!model.contains("merges") || !description.contains("added_tokens")) return nullptr;
  const auto& added = description["added_tokens"];
  if (!model["merges"].empty() || added.size() != 2 || added[0].at("id") != kMask ||
      added[1].at("id") != kEnd || model.at("vocab") != byte_vocabulary()) {
    return nullptr;
  }
  SpecialTokens found = names;
  if (!found.mask) found.mask = added[0].at("content").get<std::string>();
  if (!found.end) found.end = added[1].at("content").get<std::string>();
  return std::make_unique<ByteTokenizer>(found);
}

}  // namespace unmask
