#pragma once

#include <cstdint>
#include <sys/resource.h>
#include <unistd.h>

namespace unmask {

// Of this machine, in bytes.
inline int64_t physical_memory() {
  return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
}

// The most that this process has had in memory until now, in bytes.
inline int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace unmask
