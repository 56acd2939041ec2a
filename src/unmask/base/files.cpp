#include "unmask/base/files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unmask/base/posix.h"

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

// Whether the name still belongs to the open file.
bool is_at(const std::string& path, int file) {
  struct stat opened {
  }, present{};
  return ::fstat(file, &opened) == 0 && ::stat(path.c_str(), &present) == 0 &&
         opened.st_ino == present.st_ino && opened.st_dev == present.st_dev;
}

// Opens, empty, a file that is to be renamed, for this writer alone: others wait until it is gone.
// (Where a file system has no locks they do not.)
int open_staging(const std::string& path) {
  constexpr int kTries = 1000;
  for (int i = 0; i < kTries; ++i) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0) return file;
    while (flock(file, LOCK_EX) != 0 && errno == EINTR) {
    }
    if (is_at(path, file) && ::ftruncate(file, 0) == 0) return file;
    ::close(file);  // renamed or removed meanwhile
  }
  errno = EBUSY;
  return -1;
}

}  // namespace

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

Status replace_file(const std::string& given,
                    const std::function<Status(const std::string& place)>& write) {
  std::error_code code;
  if (fs::exists(given, code) && fs::is_other(given, code)) return write(given);
  const std::string path = followed(given).string();
  UNMASK_TRY_STATUS(make_parent(path));
  const std::string staging = path + ".partial";
  const Descriptor d{open_staging(staging)};
  if (d.file < 0) return failure("{}: cannot create: {}", staging, std::strerror(errno));
  const auto cannot = [&](const char* what) {
    return failure("{}: cannot {}: {}", path, what, std::strerror(errno));
  };
  Status status = write(staging);
  if (status && fsync(d.file) != 0) status = cannot("sync");
  if (status && ::rename(staging.c_str(), path.c_str()) != 0) status = cannot("rename");
  if (status) return sync_path(parent_of(path));
  ::unlink(staging.c_str());
  return status;
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
