#pragma once

#include <string_view>

namespace unmask {

// Of the engine, in metrics and checkpoints. The build says the same (CMakeLists.txt).
inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace unmask
