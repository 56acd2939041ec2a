#include "unmask/report/template.h"

namespace unmask {

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string fill(std::string_view text, std::span<const Slot> slots) {
  std::string filled;
  while (!text.empty()) {
    size_t first = text.size();
    const Slot* next = nullptr;
    for (const Slot& slot : slots) {
      const size_t at = text.find(slot.first);
      if (at < first) {
        first = at;
        next = &slot;
      }
    }
    filled += text.substr(0, first);
    if (next == nullptr) break;
    filled += next->second;
    text.remove_prefix(first + next->first.size());
  }
  return filled;
}

}  // namespace unmask
