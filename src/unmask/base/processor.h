#pragma once

namespace unmask {

// Processors with the same instructions differ in what they hold back while memory comes. Where
// that decides how to ask for it, their maker tells them apart.
inline bool made_by_amd() { return __builtin_cpu_is("amd") != 0; }

}  // namespace unmask
