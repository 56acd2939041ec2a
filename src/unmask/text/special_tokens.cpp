#include "unmask/text/special_tokens.h"

#include <filesystem>

#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"

namespace unmask {
namespace {

constexpr const char* kFileName = "tokenizer_config.json";

// "name" or {"content": "name", …}.
std::optional<std::string> name_in(const nlohmann::json& config, const char* key) {
  const auto entry = config.find(key);
  if (entry == config.end()) return std::nullopt;
  const nlohmann::json& name =
      entry->is_object() && entry->contains("content") ? entry->at("content") : *entry;
  if (!name.is_string() || name.get_ref<const std::string&>().empty()) return std::nullopt;
  return name.get<std::string>();
}

}  // namespace

Result<SpecialTokens> configured_special_tokens(const std::string& directory,
                                                const SpecialTokens& caller) {
  SpecialTokens result = caller;
  const std::string path = (std::filesystem::path(directory) / kFileName).string();
  std::error_code code;
  if (!std::filesystem::exists(path, code)) return result;
  UNMASK_TRY(const nlohmann::json config, read_json_file(path));
  if (!config.is_object()) return failure("{}: expected a JSON object", path);
  if (!result.mask) result.mask = name_in(config, "mask_token");
  if (!result.end) result.end = name_in(config, "eos_token");
  return result;
}

Status write_tokenizer_config(const std::string& directory, const std::string& tokenizer_class,
                              const std::string& mask, const std::string& end) {
  nlohmann::json config = {{"tokenizer_class", tokenizer_class},
                           {"clean_up_tokenization_spaces", false}};
  if (!mask.empty()) config["mask_token"] = mask;
  if (!end.empty()) config["eos_token"] = config["pad_token"] = end;
  return write_file_atomically((std::filesystem::path(directory) / kFileName).string(),
                               to_text(config, 2) + "\n");
}

}  // namespace unmask
