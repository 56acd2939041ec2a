#pragma once

#include <cstddef>
#include <cstdint>

namespace unmask {

// A large page, in bytes.
inline constexpr size_t kHugePage = size_t{2} << 20;

// Of this machine, or what its control groups let this process have of it, in bytes.
int64_t physical_memory();

// Of it, what can be taken without anything being written to disk, or killed, to make room.
int64_t available_memory();

// The most that this process has had in memory until now, in bytes.
int64_t peak_memory();

}  // namespace unmask
