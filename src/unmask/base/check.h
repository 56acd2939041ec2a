#pragma once

namespace unmask {

// Prints the failed condition with its place and aborts: for programmer errors only.
// What a user can cause is a Result (result.h).
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace unmask

#define UNMASK_CHECK(condition) \
  ((condition) ? void() : ::unmask::check_failed(#condition, __FILE__, __LINE__))
