#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

namespace unmask::cli {

// An option whose value is one of some names; the message lists them.
template <class Value>
CLI::Validator one_of(const std::map<std::string, Value>& values) {
  std::vector<std::string> names;
  for (const auto& [name, value] : values) names.push_back(name);
  const std::string expected = fmt::format("{}", fmt::join(names, ", "));
  return CLI::Validator(
      [values, expected](std::string& text) -> std::string {
        const auto found = values.find(text);
        if (found == values.end()) return fmt::format("expected {}, found {}", expected, text);
        text = std::to_string(static_cast<int>(found->second));
        return {};
      },
      fmt::format("{{{}}}", fmt::join(names, ",")));
}

// A number that begins random draws: CLI11 takes the largest for all that are larger.
inline CLI::Validator seed_number() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        uint64_t value = 0;
        const char* const end = text.data() + text.size();
        const auto read = std::from_chars(text.data(), end, value);
        if (read.ec == std::errc() && read.ptr == end && !text.empty()) return "";
        return fmt::format("expected a whole number from 0 to 2^64 - 1, found \"{}\"", text);
      },
      "0 to 2^64 - 1");
}

// A whole number of `least` or more, of which CLI11's own message would name the largest double.
inline CLI::Validator at_least(int64_t least) {
  return CLI::Validator(
      [least](std::string& text) -> std::string {
        const bool below =
            text.starts_with('-') || (least > 0 && std::strtoll(text.c_str(), nullptr, 0) < least);
        return below ? fmt::format("expected at least {}, found {}", least, text) : "";
      },
      fmt::format(">={}", least));
}

}  // namespace unmask::cli
