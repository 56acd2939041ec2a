#include "unmask/text/special_tokens.h"

#include <filesystem>

#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFileName = "tokenizer_config.json";
constexpr const char* kTemplateName = "chat_template.jinja";

// "name" or {"content": "name", …}.
std::optional<std::string> name_in(const nlohmann::json& config, const char* key) {
  const auto entry = config.find(key);
  if (entry == config.end()) return std::nullopt;
  const nlohmann::json& name =
      entry->is_object() && entry->contains("content") ? entry->at("content") : *entry;
  if (!name.is_string() || name.get_ref<const std::string&>().empty()) return std::nullopt;
  return name.get<std::string>();
}

// "template", or of several [{"name": …, "template": …}] the default.
std::string template_in(const nlohmann::json& config) {
  const auto entry = config.find("chat_template");
  if (entry == config.end()) return "";
  if (entry->is_string()) return entry->get<std::string>();
  for (const nlohmann::json& one : *entry) {
    if (one.is_object() && one.value("name", nlohmann::json()) == "default" &&
        one.contains("template") && one["template"].is_string()) {
      return one["template"].get<std::string>();
    }
  }
  return "";
}

}  // namespace

Result<TokenizerConfig> read_tokenizer_config(const std::string& directory,
                                              const SpecialTokens& caller) {
  TokenizerConfig result = {caller};
  if (const fs::path path = fs::path(directory) / kFileName; path_exists(path)) {
    UNMASK_TRY(const nlohmann::json config, read_json_file(path.string()));
    if (!config.is_object()) return failure("{}: expected a JSON object", path.string());
    if (!result.special.mask) result.special.mask = name_in(config, "mask_token");
    if (!result.special.end) result.special.end = name_in(config, "eos_token");
    result.chat_template = template_in(config);
    result.added_tokens = config.value("added_tokens_decoder", nlohmann::json());
    result.tokenizer_class = name_in(config, "tokenizer_class").value_or("");
  }
  if (const fs::path path = fs::path(directory) / kTemplateName; path_exists(path)) {
    UNMASK_TRY(result.chat_template, read_file(path.string()));
  }
  return result;
}

Status write_tokenizer_config(const std::string& directory, const std::string& tokenizer_class,
                              const std::string& mask, const std::string& end,
                              const std::string& chat_template) {
  nlohmann::json config = {{"tokenizer_class", tokenizer_class},
                           {"clean_up_tokenization_spaces", false}};
  if (!mask.empty()) config["mask_token"] = mask;
  if (!end.empty()) config["eos_token"] = config["pad_token"] = end;
  if (!chat_template.empty()) config["chat_template"] = chat_template;
  return write_file_atomically((fs::path(directory) / kFileName).string(),
                               to_text(config, 2) + "\n");
}

}  // namespace unmask
