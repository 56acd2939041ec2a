#pragma once

#include <string_view>

namespace unmask {

// Of the engine, as the build has it (CMakeLists.txt); stands in metrics and checkpoints.
std::string_view version();

}  // namespace unmask
