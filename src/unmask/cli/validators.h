#pragma once

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

// A whole number of `least` or more, of which CLI11's own message would name the largest double.
inline CLI::Validator at_least(int64_t least) {
  return CLI::Validator(
      [least](std::string& text) -> std::string {
        const bool below = std::strtoll(text.c_str(), nullptr, 10) < least;
        return below ? fmt::format("expected at least {}, found {}", least, text) : "";
      },
      fmt::format(">={}", least));
}

// An option of a number of bytes: 2GiB, 1.5G, 500MB (each unit 1,024 times the one before).
CLI::Option* as_size(CLI::Option* option);

// Every option of a number, also of the commands within, takes decimal ones in its type's range.
// CLI11 would read nothing as 0, 010 as 8, and some of what is too large as the largest.
void expect_decimal_numbers(CLI::App& command);

}  // namespace unmask::cli
