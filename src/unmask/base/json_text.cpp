#include "unmask/base/json_text.h"

#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace unmask {
namespace {

template <class Json>
std::string written(const Json& value, int indent) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace

std::string to_text(const nlohmann::json& value, int indent) { return written(value, indent); }

std::string to_text(const nlohmann::ordered_json& value, int indent) {
  return written(value, indent);
}

double as_written(float value) { return std::stod(fmt::format("{}", value)); }

nlohmann::json json_in(std::string_view text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace unmask
