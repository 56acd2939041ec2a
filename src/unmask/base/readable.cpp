#include "unmask/base/readable.h"

#include <cmath>
#include <iterator>

#include <fmt/format.h>

namespace unmask {

std::string readable_count(double value) {
  if (!std::isfinite(value)) return "-";
  const double size = std::abs(value);
  if (size < 1000 && value == std::trunc(value)) return fmt::format("{:.0f}", value);
  constexpr const char* kUnits[] = {"", "k", "M", "B", "T"};
  double scaled = value;
  size_t unit = 0;
  // 999.5 already rounds up to four digits.
  while (std::abs(scaled) >= 999.5 && unit + 1 < std::size(kUnits)) {
    scaled /= 1000;
    ++unit;
  }
  if (std::abs(scaled) >= 999.5) return fmt::format("{:.2g}", value);
  const double magnitude = std::abs(scaled);
  if (magnitude < 0.01) return fmt::format("{:.2g}", value);
  const int decimals = magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f}{}", scaled, decimals, kUnits[unit]);
}

std::string readable_bytes(int64_t bytes) {
  std::string text = readable_count(static_cast<double>(bytes));
  const char unit = text.back();
  if (unit >= '0' && unit <= '9') return text + " B";
  text.pop_back();
  return text + ' ' + (unit == 'B' ? 'G' : unit) + 'B';
}

std::string readable_integer(int64_t value) {
  std::string digits = fmt::format("{}", value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string readable_duration(double seconds) {
  if (!std::isfinite(seconds) || std::abs(seconds) > 1e12) return "-";
  const auto s = static_cast<int64_t>(std::llround(std::fmax(seconds, 0)));
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  if (s < 48 * 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}d {}h", s / 86400, s / 3600 % 24);
}

}  // namespace unmask
