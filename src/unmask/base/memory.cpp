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

// A control group of either version: its directory and how its files are named.
struct Group {
  std::string directory;
  const char *limit, *usage, *prefix;

  int64_t most() const { return number_in(directory + limit, kUnlimited); }  // "max": none

  // Of its limit, files in memory making room.
  int64_t left() const {
    const int64_t limit_bytes = most();
    if (limit_bytes == kUnlimited) return kUnlimited;
    const auto files = [&](const std::string& name) {
      return number_behind(prefix + name, directory + "/memory.stat");
    };
    return limit_bytes - number_in(directory + usage, 0) + files("inactive_file") +
           files("active_file");
  }
};

// Over those of this process, "0::/a/b" or "4:memory:/a/b", and the groups that they lie in.
int64_t least_of_groups(int64_t (Group::*bytes)() const) {
  int64_t least = kUnlimited;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const bool second_version = line.starts_with("0::");
    if (!second_version && line.find(":memory:") == line.npos) continue;
    const Group root = second_version
                           ? Group{"/sys/fs/cgroup", "/memory.max", "/memory.current", ""}
                           : Group{"/sys/fs/cgroup/memory", "/memory.limit_in_bytes",
                                   "/memory.usage_in_bytes", "total_"};
    std::string path = line.substr(line.rfind(':') + 1);
    while (!path.empty()) {
      Group group = root;
      group.directory += path;
      least = std::min(least, (group.*bytes)());
      path.erase(path == "/" ? 0 : std::max<size_t>(path.rfind('/'), 1));
    }
  }
  return least;
}

}  // namespace

int64_t physical_memory() {
  return std::min(int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE),
                  least_of_groups(&Group::most));
}

int64_t available_memory() {
  return std::min(number_behind("MemAvailable:", "/proc/meminfo") * 1024,
                  least_of_groups(&Group::left));
}

// getrusage would say what the process that began this one had, were that more.
int64_t peak_memory() { return number_behind("VmHWM:", "/proc/self/status") * 1024; }

}  // namespace unmask
