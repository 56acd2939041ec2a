#include "unmask/base/files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

#include "unmask/base/posix.h"
#include "unmask/base/staged_file.h"

namespace unmask {
namespace fs = std::filesystem;
namespace {

// Into what is there; `name` is what errors call it.
Status write_into(const std::string& place, const std::string& name, std::string_view bytes) {
  const Descriptor d{::open(place.c_str(), O_WRONLY | O_CLOEXEC)};
  if (d.file < 0) return failure("{}: cannot open: {}", name, std::strerror(errno));
  if (write_all(d.file, bytes) < bytes.size()) {
    return failure("{}: cannot write: {}", name, std::strerror(errno));
  }
  return {};
}

}  // namespace

bool path_exists(const fs::path& path) {
  std::error_code code;
  return fs::exists(path, code);
}

Result<std::string> read_file(const std::string& path) {
  std::error_code code;
  if (fs::is_directory(path, code)) return failure("{}: expected a file, found a directory", path);
  const Descriptor d{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (d.file < 0) return failure("{}: cannot open: {}", path, std::strerror(errno));
  std::string bytes;
  char chunk[1 << 16];
  while (true) {
    const ssize_t n = ::read(d.file, chunk, sizeof chunk);
    if (n == 0) return bytes;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure("{}: cannot read: {}", path, std::strerror(errno));
    bytes.append(chunk, static_cast<size_t>(n));
  }
}

Status make_parent(const std::string& path) {
  const std::string parent = parent_of(path);
  std::error_code code;
  fs::create_directories(parent, code);
  if (code) return failure("{}: cannot create {}: {}", path, parent, code.message());
  return {};
}

Status replace_file(const std::string& path,
                    const std::function<Status(const std::string& place)>& write) {
  std::error_code code;
  if (fs::is_other(path, code)) return write(path);
  UNMASK_TRY(StagedFile staged, StagedFile::create(path));
  UNMASK_TRY_STATUS(write(staged.place()));
  return staged.commit();
}

Status write_file_atomically(const std::string& path, std::string_view bytes) {
  return replace_file(path,
                      [&](const std::string& place) { return write_into(place, path, bytes); });
}

Status replace_tail(const std::string& path, int64_t size, std::string_view bytes) {
  const Descriptor d{::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666)};
  if (d.file < 0) return failure("{}: cannot open for writing: {}", path, std::strerror(errno));
  const off_t found = ::lseek(d.file, 0, SEEK_END);
  if (found < size) {
    return failure("{}: expected at least {} bytes, found {}", path, size, found);
  }
  if (::ftruncate(d.file, size) != 0 || ::lseek(d.file, size, SEEK_SET) != size ||
      write_all(d.file, bytes) < bytes.size() || fsync(d.file) != 0) {
    return failure("{}: cannot write: {}", path, std::strerror(errno));
  }
  return {};
}

}  // namespace unmask
