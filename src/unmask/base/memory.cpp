#include "unmask/base/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <unistd.h>

namespace unmask {
namespace {

// The number behind a word that begins a line; 0 without one.
int64_t number_behind(const std::string& word, const std::string& path) {
  std::ifstream file(path);
  for (std::string first; file >> first;) {
    int64_t number = 0;
    if (first == word && file >> number) return number;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

int64_t number_in(const std::string& path, int64_t otherwise) {
  int64_t number = otherwise;
  std::ifstream file(path);
  return file >> number ? number : otherwise;
}

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// What a control group leaves of its limit, files in memory making room.
int64_t left_by_group(const std::string& group, bool second_version) {
  const std::string limit = second_version ? "/memory.max" : "/memory.limit_in_bytes";
  const std::string usage = second_version ? "/memory.current" : "/memory.usage_in_bytes";
  const std::string prefix = second_version ? "" : "total_";
  const int64_t most = number_in(group + limit, kUnlimited);  // "max": none
  if (most == kUnlimited) return kUnlimited;
  const std::string statistics = group + "/memory.stat";
  return most - number_in(group + usage, 0) + number_behind(prefix + "inactive_file", statistics) +
         number_behind(prefix + "active_file", statistics);
}

// By those of this process, "0::/a/b" or "4:memory:/a/b", and the groups that they lie in.
int64_t left_by_groups() {
  int64_t least = kUnlimited;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const bool second_version = line.starts_with("0::");
    if (!second_version && line.find(":memory:") == line.npos) continue;
    const std::string root = second_version ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    std::string path = line.substr(line.rfind(':') + 1);
    while (!path.empty()) {
      least = std::min(least, left_by_group(root + path, second_version));
      path.erase(path == "/" ? 0 : std::max<size_t>(path.rfind('/'), 1));
    }
  }
  return least;
}

}  // namespace

int64_t physical_memory() { return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE); }

int64_t available_memory() {
  return std::min(number_behind("MemAvailable:", "/proc/meminfo") * 1024, left_by_groups());
}

// getrusage would say what the process that began this one had, were that more.
int64_t peak_memory() { return number_behind("VmHWM:", "/proc/self/status") * 1024; }

}  // namespace unmask
