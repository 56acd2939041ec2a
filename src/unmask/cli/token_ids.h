#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "unmask/base/result.h"

namespace unmask::cli {

// "1, 2 3": ids below the vocabulary size, separated by spaces or commas. `flag` is named in
// errors.
Result<std::vector<int32_t>> parse_token_ids(std::string_view flag, std::string_view text,
                                             int32_t vocab_size);

}  // namespace unmask::cli
