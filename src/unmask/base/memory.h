#pragma once

#include <cstdint>
#include <unistd.h>

namespace unmask {

// Of this machine, in bytes.
inline int64_t physical_memory() {
  return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
}

}  // namespace unmask
