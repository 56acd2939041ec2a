#include "unmask/base/document.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"

namespace unmask {
namespace {

constexpr size_t kLongestQuote = 60;

std::string describe(const nlohmann::json& value) {
  if (value.is_null()) return "null";
  std::string text = to_text(value);
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    text = fmt::format("{}", value.get<double>());
  }
  if (text.size() > kLongestQuote) text = text.substr(0, kLongestQuote) + "...";
  if (value.is_string()) return "the string " + text;
  if (value.is_object()) return "the table " + text;
  if (value.is_array()) return "the array " + text;
  return text;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

bool is_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

Result<nlohmann::json> parse_value(std::string_view text, std::string_view assignment) {
  const auto document = parse_toml(fmt::format("value = {}", text), "");
  if (document && document->size() == 1) return document->at("value");
  if (text.empty() || std::string_view("\"'[{").find(text.front()) != std::string_view::npos) {
    return usage_error("'{}': expected key=value with a TOML value, found '{}' as the value",
                       assignment, text);
  }
  return nlohmann::json(std::string(text));
}

// Copying and printing a value recurse: deeper ones would exhaust the stack.
constexpr int kMaxNesting = 64;

bool nests_deeper(const nlohmann::json& value, int levels) {
  if (!value.is_structured()) return false;
  return levels == 0 || std::any_of(value.begin(), value.end(), [&](const nlohmann::json& inner) {
           return nests_deeper(inner, levels - 1);
         });
}

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text, const std::string& where) {
  try {
    nlohmann::json document = nlohmann::json::parse(text);
    if (nests_deeper(document, kMaxNesting)) {
      return usage_error(
          "{}: expected tables and arrays at most {} deep, found more inside each other", where,
          kMaxNesting);
    }
    return document;
  } catch (const nlohmann::json::exception& error) {  // also of numbers that no double holds
    const std::string_view message = error.what();
    const size_t prefix = message.find("] ");  // "[json.exception.parse_error.101] parse error at…"
    return usage_error("{}: {}", where,
                       prefix == std::string_view::npos ? message : message.substr(prefix + 2));
  }
}

Result<nlohmann::json> read_toml_file(const std::string& path) {
  UNMASK_TRY(const std::string text, read_file(path));
  return parse_toml(text, path);
}

Result<nlohmann::json> read_layered_toml_file(const std::string& path) {
  constexpr int kMostLayers = 8;
  nlohmann::json layered = nlohmann::json::object();
  std::string file = path;
  for (int layer = 0; layer < kMostLayers; ++layer) {
    UNMASK_TRY(nlohmann::json document, read_toml_file(file));
    std::optional<std::string> base;
    if (const auto found = document.find("base"); found != document.end()) {
      if (!found->is_string()) {
        return usage_error("{}: 'base': expected the path of a TOML file, found {}", file,
                           describe(*found));
      }
      base = found->get<std::string>();
      document.erase("base");
    }
    document.merge_patch(layered);  // tables key by key; TOML has no null that would remove one
    layered = std::move(document);
    if (!base) return layered;
    file = (std::filesystem::path(file).parent_path() / *base).string();
  }
  return usage_error("{}: 'base': more than {} files on top of each other, or a circle", path,
                     kMostLayers);
}

Result<nlohmann::json> read_json_file(const std::string& path) {
  UNMASK_TRY(const std::string text, read_file(path));
  return parse_json(text, path);
}

Status set_value(nlohmann::json& document, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    return usage_error("'{}': expected key=value, found no '='", assignment);
  }
  UNMASK_TRY(nlohmann::json value, parse_value(assignment.substr(equals + 1), assignment));

  const std::string_view path = assignment.substr(0, equals);
  nlohmann::json changed = document;  // so that an error leaves the document as it was
  nlohmann::json* node = &changed;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string_view key = path.substr(begin, end - begin);
    if (!is_key(key)) {
      return usage_error("'{}': expected a key such as routing.experts_per_token, found '{}'",
                         assignment, path);
    }
    if (node->is_null()) *node = nlohmann::json::object();
    if (!node->is_object()) {
      return usage_error("'{}': '{}' is {}, not a table", assignment,
                         path.substr(0, begin == 0 ? 0 : begin - 1), describe(*node));
    }
    node = &(*node)[std::string(key)];
    begin = end + 1;
  }
  *node = std::move(value);
  document = std::move(changed);
  return {};
}

std::string nearest_name(std::string_view name, std::span<const std::string> candidates) {
  if (candidates.empty()) return "";
  return *std::min_element(candidates.begin(), candidates.end(),
                           [name](const std::string& a, const std::string& b) {
                             return edit_distance(name, a) < edit_distance(name, b);
                           });
}

Fields::Fields(const nlohmann::json& object, std::string path, std::string file)
    : object_(object.is_object() ? &object : nullptr),
      path_(std::move(path)),
      file_(std::move(file)) {
  if (object_ == nullptr) mismatch(path_.empty() ? "document" : path_, "a table", object);
}

const nlohmann::json* Fields::find(std::string_view key) {
  known_.emplace_back(key);
  if (object_ == nullptr) return nullptr;
  const auto found = object_->find(std::string(key));
  return found == object_->end() ? nullptr : &*found;
}

void Fields::ignore_others() {
  if (object_ == nullptr) return;
  for (const auto& [key, value] : object_->items()) known_.push_back(key);
}

bool Fields::has(std::string_view key) const {
  return object_ != nullptr && object_->contains(std::string(key));
}

std::string Fields::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void Fields::refuse(std::string_view key, std::string_view expected) {
  if (const nlohmann::json* found = find(key)) mismatch(path_of(key), expected, *found);
}

void Fields::fail(Error error) {
  if (status_) status_ = std::move(error);
}

void Fields::missing(std::string_view key) {
  if (object_ == nullptr || !missing_) return;
  missing_ = usage_error("{}missing key '{}'", prefix(), path_of(key));
}

void Fields::refuse_word(std::string_view key, std::string_view word,
                         std::span<const std::string> known) {
  fail(usage_error("{}'{}': expected one of {}, found \"{}\": did you mean \"{}\"?", prefix(),
                   path_of(key), fmt::join(known, ", "), word, nearest_name(word, known)));
}

bool Fields::mismatch(const std::string& path, std::string_view expected,
                      const nlohmann::json& found) {
  fail(usage_error("{}'{}': expected {}, found {}", prefix(), path, expected, describe(found)));
  return false;
}

Status Fields::finish() {
  if (!status_) return status_;
  if (object_ != nullptr) {
    for (const auto& [key, value] : object_->items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      const std::string nearest = nearest_name(key, known_);
      return nearest.empty() ? usage_error("{}unknown key '{}'", prefix(), path_of(key))
                             : usage_error("{}unknown key '{}': did you mean '{}'?", prefix(),
                                           path_of(key), nearest);
    }
  }
  // After the unknown keys: a mistyped key is often the missing one.
  return missing_;
}

bool Fields::convert(const std::string& path, const nlohmann::json& found, bool& value) {
  if (!found.is_boolean()) return mismatch(path, "true or false", found);
  value = found.get<bool>();
  return true;
}

bool Fields::convert(const std::string& path, const nlohmann::json& found, std::string& value) {
  if (!found.is_string()) return mismatch(path, "a string", found);
  value = found.get<std::string>();
  return true;
}

bool Fields::convert_signed(const std::string& path, const nlohmann::json& found, int64_t least,
                            int64_t most, int64_t& value) {
  if (!found.is_number_integer()) return mismatch(path, "an integer", found);
  const bool too_large =
      found.is_number_unsigned() && found.get<uint64_t>() > static_cast<uint64_t>(most);
  if (too_large || found.get<int64_t>() < least || found.get<int64_t>() > most) {
    return mismatch(path, fmt::format("an integer between {} and {}", least, most), found);
  }
  value = found.get<int64_t>();
  return true;
}

bool Fields::convert_unsigned(const std::string& path, const nlohmann::json& found, uint64_t most,
                              uint64_t& value) {
  if (!found.is_number_integer()) return mismatch(path, "an integer", found);
  const bool negative = !found.is_number_unsigned() && found.get<int64_t>() < 0;
  if (negative || found.get<uint64_t>() > most) {
    return mismatch(path, fmt::format("an integer between 0 and {}", most), found);
  }
  value = found.get<uint64_t>();
  return true;
}

bool Fields::convert_number(const std::string& path, const nlohmann::json& found, double& value) {
  if (!found.is_number() || !std::isfinite(found.get<double>())) {
    return mismatch(path, "a number", found);
  }
  value = found.get<double>();
  return true;
}

}  // namespace unmask
