#include "unmask/cli/token_ids.h"

#include <charconv>

namespace unmask::cli {

Result<std::vector<int32_t>> parse_token_ids(std::string_view flag, std::string_view text,
                                             int32_t vocab_size) {
  std::vector<int32_t> ids;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    if (std::string_view(" ,\n\t").find(*at) != std::string_view::npos) {
      ++at;
      continue;
    }
    int32_t id = -1;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0 || id >= vocab_size) {
      return usage_error(
          "{}: expected ids below the vocabulary size {}, separated by spaces or commas, found "
          "\"{}\"",
          flag, vocab_size, std::string_view(at, end));
    }
    ids.push_back(id);
    at = next;
  }
  return ids;
}

}  // namespace unmask::cli
