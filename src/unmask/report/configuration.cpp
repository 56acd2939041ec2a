#include "unmask/report/configuration.h"

#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask {
namespace {

using nlohmann::json;

// Calls leaf(key, value) for whatever is not an object; lists are compared as a whole.
template <class Leaf>
void visit_leaves(const std::string& prefix, const json& value, const Leaf& leaf) {
  if (!value.is_object() || (value.empty() && !prefix.empty())) {
    leaf(prefix, value);
    return;
  }
  for (const auto& [key, child] : value.items()) {
    visit_leaves(prefix.empty() ? key : prefix + "." + key, child, leaf);
  }
}

}  // namespace

std::vector<ConfigurationRow> compare_configurations(std::span<const RunLog> runs) {
  std::map<std::string, std::vector<std::string>> by_key;
  for (size_t i = 0; i < runs.size(); ++i) {
    const json configuration = json::parse(runs[i].config.configuration, nullptr, false);
    if (!configuration.is_object()) continue;
    visit_leaves("", configuration, [&](const std::string& key, const json& value) {
      auto& values = by_key[key];
      values.resize(runs.size());
      values[i] = value.is_string() ? value.get<std::string>() : to_text(value);
    });
  }
  std::vector<ConfigurationRow> rows;
  for (auto& [key, values] : by_key) {
    bool differs = false;
    for (const std::string& value : values) differs = differs || value != values[0];
    rows.push_back({key, std::move(values), differs});
  }
  return rows;
}

}  // namespace unmask
