// The one file that sees toml++.
#include <cctype>
#include <sstream>

#include <nlohmann/json.hpp>
#include <toml++/toml.h>

#include "unmask/base/document.h"

namespace unmask {
namespace {

nlohmann::json to_json(const toml::node& node);

nlohmann::json table_to_json(const toml::table& table) {
  auto json = nlohmann::json::object();
  for (const auto& [key, value] : table) json[std::string(key.str())] = to_json(value);
  return json;
}

nlohmann::json array_to_json(const toml::array& array) {
  auto json = nlohmann::json::array();
  for (const toml::node& element : array) json.push_back(to_json(element));
  return json;
}

nlohmann::json to_json(const toml::node& node) {
  if (const auto* table = node.as_table()) return table_to_json(*table);
  if (const auto* array = node.as_array()) return array_to_json(*array);
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* integer = node.as_integer()) return integer->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* boolean = node.as_boolean()) return boolean->get();
  // Dates and times: JSON has none, they stay as they were written.
  std::ostringstream text;
  node.visit([&](const auto& value) {
    if constexpr (toml::is_chronological<decltype(value)>) text << value.get();
  });
  return text.str();
}

// A key of very many parts is as many tables inside each other: more than the stack holds.
bool has_endless_key(std::string_view text) {
  constexpr int kMostParts = 1000;
  int parts = 0;
  for (const char c : text) {
    const bool of_key = std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' ||
                        c == '"' || c == '\'' || c == ' ' || c == '\t';
    parts = c == '.' ? parts + 1 : of_key ? parts : 0;
    if (parts > kMostParts) return true;
  }
  return false;
}

}  // namespace

Result<nlohmann::json> parse_toml(std::string_view text, const std::string& where) {
  if (has_endless_key(text)) {
    return usage_error("{}: expected keys of a few parts, found one of more than a thousand",
                       where);
  }
  try {
    return table_to_json(toml::parse(text, where));
  } catch (const toml::parse_error& error) {
    const auto& begin = error.source().begin;
    return usage_error("{}:{}:{}: {}", where, begin.line, begin.column, error.description());
  }
}

}  // namespace unmask
