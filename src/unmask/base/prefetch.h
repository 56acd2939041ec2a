#pragma once

#include <cstdint>

namespace unmask {

// How memory comes: by lines, once the page has been found.
inline constexpr int64_t kLineBytes = 64;
inline constexpr int64_t kLineFloats = kLineBytes / int64_t{sizeof(float)};
inline constexpr int64_t kPageBytes = 4096;

// Asks for the pages that begin within `bytes` from `from` on, all at once, ahead of their use.
// Finding a page that was not used lately takes as long as fetching a line, or several, and what is
// fetched behind it waits; pages that are asked for together are found side by side. Whoever goes
// through memory piece by piece has then asked for each of its pages once. (Packed experts took
// 0.69 to 0.9 of the time with it, on Zen 5 in a virtual machine, whose large pages are not.)
inline void find_pages(const void* from, int64_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(from), end = begin + static_cast<uintptr_t>(bytes);
  constexpr auto kPage = uintptr_t{kPageBytes};
  for (uintptr_t page = (begin + kPage - 1) / kPage * kPage; page < end; page += kPage) {
    __builtin_prefetch(reinterpret_cast<const void*>(page), 0, 2);
  }
}

}  // namespace unmask
