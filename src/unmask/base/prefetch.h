#pragma once

#include <cstdint>

namespace unmask {

// How memory comes: by lines, once the page has been found.
inline constexpr int64_t kLineBytes = 64;
inline constexpr int64_t kLineFloats = kLineBytes / int64_t{sizeof(float)};
inline constexpr int64_t kPageBytes = 4096;

inline const char* first_page_from(const void* from) {
  const auto address = reinterpret_cast<uintptr_t>(from);
  constexpr auto kPage = uintptr_t{kPageBytes};
  return reinterpret_cast<const char*>((address + kPage - 1) / kPage * kPage);
}

// Asks for the pages that begin within `bytes` from `from` on, all at once, ahead of their use.
// Finding a page that was not used lately takes as long as fetching a line, or several, and what is
// fetched behind it waits; pages that are asked for together are found side by side. Whoever goes
// through memory piece by piece has then asked for each of its pages once. (Packed experts took
// 0.69 to 0.9 of the time with it, on Zen 5 in a virtual machine, whose large pages are not.)
inline void find_pages(const void* from, int64_t bytes) {
  const char* const end = static_cast<const char*>(from) + bytes;
  for (const char* page = first_page_from(from); page < end; page += kPageBytes) {
    __builtin_prefetch(page, 0, 2);
  }
}

// Lets the processor look for the pages of two addresses, whatever they are, and goes on at once.
// An instruction that reads or prefetches from a page that has to be found keeps those behind it
// from being finished until it is. Not so instructions that are never reached: the return below
// goes to label 3, but a processor expects the place behind the call, and until it knows better it
// tries what stands there. That is undone; the search for a page, once begun, is not.
inline void look_for_pages(const void* one, const void* other) {
#if defined(__CET__) && (__CET__ & 2)  // returns are checked against their calls
  __builtin_prefetch(one, 0, 2);
  __builtin_prefetch(other, 0, 2);
#else
  uint64_t word;
  asm volatile(
      "lea -128(%%rsp), %%rsp\n"  // what stands just below the stack may be in use
      "call 1f\n"
      "movb (%[one]), %b[word]\n"
      "movb (%[other]), %b[word]\n"
      "2: pause\n"
      "lfence\n"
      "jmp 2b\n"
      "1: lea 3f(%%rip), %[word]\n"
      "imul $1, %[word], %[word]\n"  // time for what is tried meanwhile
      "imul $1, %[word], %[word]\n"
      "imul $1, %[word], %[word]\n"
      "imul $1, %[word], %[word]\n"
      "mov %[word], (%%rsp)\n"
      "ret\n"
      "3: lea 128(%%rsp), %%rsp\n"
      : [word] "=&r"(word)
      : [one] "r"(one), [other] "r"(other)
      : "cc", "memory");
#endif
}

// find_pages where arithmetic follows that need not wait for them. (Packed experts take 0.91 to
// 0.93 of the time with it in bf16 and int8, 0.95 to 0.99 in int4, on Zen 5; on Granite Rapids 1.05
// to 1.1.)
inline void find_pages_meanwhile(const void* from, int64_t bytes) {
  constexpr int64_t kFew = 3 * kPageBytes;  // are waited for sooner than looked for
  if (bytes < kFew) return find_pages(from, bytes);
  const char* const end = static_cast<const char*>(from) + bytes;
  for (const char* page = first_page_from(from); page < end; page += 2 * kPageBytes) {
    look_for_pages(page, page + kPageBytes);
  }
}

}  // namespace unmask
