#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"

namespace unmask::cli {

// An output that is one of the inputs would take it away.
inline Status keep_inputs(std::string_view flag, const std::string& out,
                          const std::vector<std::string>& inputs) {
  for (const std::string& input : inputs) {
    std::error_code code;
    if (!std::filesystem::equivalent(out, input, code)) continue;
    return usage_error("{} {}: expected another file than the input", flag, out);
  }
  return {};
}

}  // namespace unmask::cli
