#include "unmask/cli/validators.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <string_view>

namespace unmask::cli {
namespace {

// Written back as CLI11 reads it too: without the zeros in front, which make octal numbers there.
template <class Number>
std::string read_number(std::string& text, std::string_view expected) {
  Number value{};
  const char* const end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || read != end || !std::isfinite(static_cast<double>(value))) {
    return fmt::format("expected {}, found \"{}\"", expected, text);
  }
  text = fmt::to_string(value);
  return "";
}

std::string read_type(std::string_view type, std::string& text) {
  if (type == "INT") return read_number<int64_t>(text, "a whole number");
  if (type == "UINT") return read_number<uint64_t>(text, "a whole number from 0 to 2^64 - 1");
  return read_number<double>(text, "a number");
}

std::string read_size(std::string& text) {
  constexpr std::string_view kUnits = "KMGTP";
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, value);
  std::string unit(read, end);
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return std::toupper(c); });
  const size_t place = unit.empty() ? kUnits.npos : kUnits.find(unit.front());
  const int power = place == kUnits.npos ? 0 : static_cast<int>(place) + 1;
  if (power > 0) unit.erase(0, 1);
  const bool known = unit.empty() || unit == "B" || (power > 0 && unit == "IB");
  value = std::ldexp(value, 10 * power);
  if (error != std::errc() || !known || !(value >= 0 && value < 0x1p62)) {
    return fmt::format("expected a size like 2GiB or 500MB, found \"{}\"", text);
  }
  text = fmt::to_string(static_cast<int64_t>(value));
  return "";
}

}  // namespace

CLI::Option* as_size(CLI::Option* option) {
  return option->transform(CLI::Validator(read_size, ""))->type_name("SIZE");
}

void expect_decimal_numbers(CLI::App& command) {
  for (CLI::Option* option : command.get_options()) {
    const std::string described = option->get_type_name();
    const std::string type = described.substr(0, described.find(':'));
    if (type != "INT" && type != "UINT" && type != "FLOAT") continue;
    option->transform(CLI::Validator(
        [type](std::string& text) -> std::string { return read_type(type, text); }, ""));
  }
  for (CLI::App* inner : command.get_subcommands({})) expect_decimal_numbers(*inner);
}

}  // namespace unmask::cli
