#include "unmask/base/log.h"

#include <cstdio>

namespace unmask {

void write_log(std::string_view level, std::string_view text) {
  fmt::print(stderr, "{}{}\n", level, text);
  std::fflush(stderr);
}

}  // namespace unmask
