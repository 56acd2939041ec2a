#include "unmask/base/posix.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>

namespace unmask {
namespace fs = std::filesystem;

size_t write_all(int file, std::string_view bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(file, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = EIO;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

Status sync_path(const std::string& path) {
  const Descriptor d{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (d.file < 0 || fsync(d.file) != 0) {
    return failure("{}: cannot sync: {}", path, std::strerror(errno));
  }
  return {};
}

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

fs::path followed(fs::path path) {
  constexpr int kMostLinks = 40;
  std::error_code code;
  for (int i = 0; i < kMostLinks && fs::is_symlink(path, code); ++i) {
    path = path.parent_path() / fs::read_symlink(path, code);
  }
  return path;
}

}  // namespace unmask
