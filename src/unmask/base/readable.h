#pragma once

#include <cstdint>
#include <string>

// Numbers as people read them, for the terminal and for reports.

namespace unmask {

std::string readable_count(double value);     // three digits: 7, 12.3k, 4.56M, 1.2e+30; "-" for NaN
std::string readable_bytes(int64_t bytes);    // 1.40 GB
std::string readable_integer(int64_t value);  // every digit: 1,234,567
std::string readable_duration(double seconds);  // 0:07, 4:32, 1:04:32, 2d 4h; "-" for NaN

}  // namespace unmask
