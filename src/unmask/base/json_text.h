#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace unmask {

// JSON to text and back, compiled once: the library's reader and writer are templates of which
// every caller would get a copy.

// On one line, or with each level `indent` spaces further in. Bytes that are no UTF-8 are replaced
// by U+FFFD.
std::string to_text(const nlohmann::json& value, int indent = -1);
std::string to_text(const nlohmann::ordered_json& value, int indent = -1);

// The double that prints as the float does: 0.01, not 0.00999999977648258.
double as_written(float value);

// What `text` says; is_discarded() when it is no JSON. For lines of data and the output of
// programs; files that a user writes are read by parse_json (base/document.h), which says what is
// wrong.
nlohmann::json json_in(std::string_view text);

}  // namespace unmask
