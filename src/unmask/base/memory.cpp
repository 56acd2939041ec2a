#include "unmask/base/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <unistd.h>

namespace unmask {
namespace {

// The number behind a word that begins a line; 0 without one.
int64_t number_behind(const char* word, const char* path) {
  std::ifstream file(path);
  for (std::string first; file >> first;) {
    int64_t number = 0;
    if (first == word && file >> number) return number;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace

int64_t physical_memory() { return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE); }

int64_t available_memory() {
  const int64_t available = number_behind("MemAvailable:", "/proc/meminfo") * 1024;
  // A container may have less than the machine; files in its memory make room.
  int64_t limit = 0;
  if (!(std::ifstream("/sys/fs/cgroup/memory.max") >> limit)) return available;
  return std::min(available, limit - number_behind("anon", "/sys/fs/cgroup/memory.stat"));
}

// getrusage would say what the process that began this one had, were that more.
int64_t peak_memory() { return number_behind("VmHWM:", "/proc/self/status") * 1024; }

}  // namespace unmask
