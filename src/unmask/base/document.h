#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"

namespace unmask {

// Configuration files. TOML becomes a JSON value, so that one reader serves training
// configurations, policy files and a model's config.json. `where` names the text in errors.
Result<nlohmann::json> parse_toml(std::string_view text, const std::string& where);
// Refuses what nests more than 64 deep.
Result<nlohmann::json> parse_json(std::string_view text, const std::string& where);
Result<nlohmann::json> read_toml_file(const std::string& path);
Result<nlohmann::json> read_json_file(const std::string& path);

// A TOML file laid over the one that its key `base` names, relative to itself, and so on: tables
// are merged key by key, everything else replaces what the base says.
Result<nlohmann::json> read_layered_toml_file(const std::string& path);

// Sets one value of a document from "a.b.c=value", making tables on the way. The value is written
// as in TOML; what is no TOML value and does not begin like a string, array or table is a bare
// word and becomes a string (`--set data.path=corpus/text.txt`).
Status set_value(nlohmann::json& document, std::string_view assignment);

// The candidate with the least edit distance to `name`; empty without candidates.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

// Reads the keys of one table into variables and remembers which keys it was asked for, so that
// `finish` can report a mistyped one:
//
//   Fields fields(document, "routing");
//   fields.read("experts_per_token", policy.experts_per_token);
//   fields.read_enum("weights", policy.weights, {{"softmax", Weights::softmax}, …});
//   fields.table("capacity", [&](Fields& capacity) { … });
//   return fields.finish();
//
// Errors do not interrupt the reading; `finish` returns the first, as a usage error with the full
// key path, what was expected and what was found. Absent keys leave their variable alone, except
// with `require`.
class Fields {
 public:
  // `path`: the dotted key of the object, empty at the top; `file`: named in errors when given.
  // The object outlives this.
  explicit Fields(const nlohmann::json& object, std::string path = "", std::string file = "");

  // Returns whether the key is there and well-formed. T: bool, an integer type (range-checked),
  // a float type (integers accepted, finite), std::string, or a std::vector of those.
  template <class T>
  bool read(std::string_view key, T& value) {
    const nlohmann::json* found = find(key);
    return found != nullptr && convert(path_of(key), *found, value);
  }

  // An optional becomes set when the key is there.
  template <class T>
  bool read(std::string_view key, std::optional<T>& value) {
    T read_value{};
    if (!read(key, read_value)) return false;
    value = std::move(read_value);
    return true;
  }

  template <class T>
  bool require(std::string_view key, T& value) {
    if (!has(key)) missing(key);
    return read(key, value);
  }

  // Read, and refuse a value outside [least, most].
  template <class T>
  bool read_between(std::string_view key, T& value, std::type_identity_t<T> least,
                    std::type_identity_t<T> most = std::numeric_limits<T>::max()) {
    T read_value{};
    if (!read(key, read_value)) return false;
    if (!(read_value >= least && read_value <= most)) {
      refuse(key, most == std::numeric_limits<T>::max()
                      ? fmt::format("at least {}", least)
                      : fmt::format("a value between {} and {}", least, most));
      return false;
    }
    value = read_value;
    return true;
  }

  // One of a few words.
  template <class E>
  bool read_enum(std::string_view key, E& value,
                 std::initializer_list<std::pair<std::string_view, E>> names) {
    std::string word;
    if (!read(key, word)) return false;
    std::vector<std::string> known;
    for (const auto& [name, meaning] : names) {
      if (name == word) {
        value = meaning;
        return true;
      }
      known.emplace_back(name);
    }
    refuse_word(key, word, known);
    return false;
  }

  // Reads a nested table with its own Fields when it is there; its keys are finished with it.
  template <class F>
  bool table(std::string_view key, F&& read_keys) {
    const nlohmann::json* found = find(key);
    if (found == nullptr) return false;
    Fields nested(*found, path_of(key), file_);
    read_keys(nested);
    if (auto status = nested.finish(); !status) fail(status.error());
    return status_.ok();
  }

  // The value as it stands, for a reader of its own; null when absent. The key becomes known.
  const nlohmann::json* find(std::string_view key);
  // Of a table that others read too: what nobody asks for here does not matter.
  void ignore_others();
  bool has(std::string_view key) const;

  // "routing.capacity.min" for "min".
  std::string path_of(std::string_view key) const;

  // Records an error of the caller's: "'path.key': expected {expected}, found {the value}".
  void refuse(std::string_view key, std::string_view expected);
  void fail(Error error);

  // The first error, or the first key that nobody asked for with the nearest known one.
  Status finish();

 private:
  void missing(std::string_view key);
  void refuse_word(std::string_view key, std::string_view word, std::span<const std::string> known);
  bool mismatch(const std::string& path, std::string_view expected, const nlohmann::json& found);
  std::string prefix() const { return file_.empty() ? "" : file_ + ": "; }

  bool convert(const std::string& path, const nlohmann::json& found, bool& value);
  bool convert(const std::string& path, const nlohmann::json& found, std::string& value);
  bool convert_signed(const std::string& path, const nlohmann::json& found, int64_t least,
                      int64_t most, int64_t& value);
  bool convert_unsigned(const std::string& path, const nlohmann::json& found, uint64_t most,
                        uint64_t& value);
  bool convert_number(const std::string& path, const nlohmann::json& found, double& value);

  template <std::signed_integral T>
  bool convert(const std::string& path, const nlohmann::json& found, T& value) {
    int64_t wide = 0;
    if (!convert_signed(path, found, std::numeric_limits<T>::min(), std::numeric_limits<T>::max(),
                        wide)) {
      return false;
    }
    value = static_cast<T>(wide);
    return true;
  }
  template <std::unsigned_integral T>
  bool convert(const std::string& path, const nlohmann::json& found, T& value) {
    uint64_t wide = 0;
    if (!convert_unsigned(path, found, std::numeric_limits<T>::max(), wide)) return false;
    value = static_cast<T>(wide);
    return true;
  }
  template <std::floating_point T>
  bool convert(const std::string& path, const nlohmann::json& found, T& value) {
    double wide = 0;
    if (!convert_number(path, found, wide)) return false;
    if (!std::isfinite(static_cast<T>(wide))) {
      return mismatch(path, fmt::format("a number of at most {}", std::numeric_limits<T>::max()),
                      found);
    }
    value = static_cast<T>(wide);
    return true;
  }
  template <class T>
  bool convert(const std::string& path, const nlohmann::json& found, std::vector<T>& value) {
    if (!found.is_array()) return mismatch(path, "an array", found);
    std::vector<T> read_values;
    for (size_t i = 0; i < found.size(); ++i) {
      T element{};
      if (!convert(fmt::format("{}[{}]", path, i), found[i], element)) return false;
      read_values.push_back(std::move(element));
    }
    value = std::move(read_values);
    return true;
  }

  const nlohmann::json* object_;  // null when the value is no table
  std::string path_;
  std::string file_;
  std::vector<std::string> known_;
  Status status_;
  Status missing_;
};

}  // namespace unmask
