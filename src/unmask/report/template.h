#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace unmask {

std::string escape_html(std::string_view text);

// "{{name}}" and what stands there.
using Slot = std::pair<std::string_view, std::string>;

// The text with all its slots filled, in one pass, so that what fills one is never searched.
std::string fill(std::string_view text, std::span<const Slot> slots);

}  // namespace unmask
