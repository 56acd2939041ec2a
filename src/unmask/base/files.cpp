#include "unmask/base/files.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace unmask {
namespace fs = std::filesystem;
namespace {

// Closes on every way out.
struct Descriptor {
  int file = -1;
  ~Descriptor() {
    if (file >= 0) ::close(file);
  }
};

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
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

// What a chain of symbolic links ends at, whether that is there or not.
fs::path followed(fs::path path) {
  constexpr int kMostLinks = 40;
  std::error_code code;
  for (int i = 0; i < kMostLinks && fs::is_symlink(path, code); ++i) {
    path = path.parent_path() / fs::read_symlink(path, code);
  }
  return path;
}

// Something else than a file, such as a terminal or a pipe: it takes the bytes and stays.
Status write_into(const std::string& path, std::string_view bytes) {
  const Descriptor d{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  if (d.file < 0) return failure("{}: cannot open: {}", path, std::strerror(errno));
  if (!write_all(d.file, bytes)) {
    return failure("{}: cannot write: {}", path, std::strerror(errno));
  }
  return {};
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

Status write_file_atomically(const std::string& given, std::string_view bytes) {
  std::error_code code;
  if (fs::exists(given, code) && fs::is_other(given, code)) return write_into(given, bytes);
  const std::string path = followed(given).string();
  UNMASK_TRY_STATUS(make_parent(path));
  const std::string staging = path + ".partial";
  const auto give_up = [&](const char* what) {
    const Error error = failure("{}: cannot {}: {}", path, what, std::strerror(errno));
    ::unlink(staging.c_str());
    return error;
  };
  {
    const Descriptor d{::open(staging.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (d.file < 0) return failure("{}: cannot create: {}", staging, std::strerror(errno));
    if (!write_all(d.file, bytes)) return give_up("write");
    if (fsync(d.file) != 0) return give_up("sync");
  }
  if (::rename(staging.c_str(), path.c_str()) != 0) return give_up("rename");
  return sync_path(parent_of(path));
}

Status replace_tail(const std::string& path, int64_t size, std::string_view bytes) {
  const Descriptor d{::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666)};
  if (d.file < 0) return failure("{}: cannot open for writing: {}", path, std::strerror(errno));
  const off_t found = ::lseek(d.file, 0, SEEK_END);
  if (found < size) {
    return failure("{}: expected at least {} bytes, found {}", path, size, found);
  }
  if (::ftruncate(d.file, size) != 0 || ::lseek(d.file, size, SEEK_SET) != size ||
      !write_all(d.file, bytes) || fsync(d.file) != 0) {
    return failure("{}: cannot write: {}", path, std::strerror(errno));
  }
  return {};
}

Result<DirectoryLock> DirectoryLock::take(const std::string& path) {
  DirectoryLock lock;
  lock.file_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock.file_ >= 0 && flock(lock.file_, LOCK_EX | LOCK_NB) == 0) return lock;
  if (lock.file_ >= 0 && errno == EWOULDBLOCK) {
    return failure("{}: another process is at work on this: wait for it, or stop it", path);
  }
  return failure("{}: cannot lock: {}", path, std::strerror(errno));
}

DirectoryLock::~DirectoryLock() {
  if (file_ >= 0) ::close(file_);
}

namespace {

constexpr std::string_view kPartial = ".partial-";  // and the number of a process

// What processes that are gone left beside `place` while they were building it.
void remove_abandoned(const fs::path& place) {
  const std::string prefix = place.filename().string() + std::string(kPartial);
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(parent_of(place.string()), code)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || name.size() == prefix.size() ||
        name.find_first_not_of("0123456789", prefix.size()) != std::string::npos) {
      continue;
    }
    if (entry.is_symlink(code)) continue;
    const auto lock = DirectoryLock::take(entry.path().string());
    if (lock.ok()) fs::remove_all(entry.path(), code);
  }
}

bool is_mount_point(const fs::path& place) {
  struct stat here {
  }, above{};
  return ::stat(place.c_str(), &here) == 0 &&
         ::stat(parent_of(place.string()).c_str(), &above) == 0 && here.st_dev != above.st_dev;
}

Result<fs::path> place_of(const std::string& path) {
  fs::path place = fs::path(path).lexically_normal();
  if (!place.has_filename()) place = place.parent_path();  // a/ means a
  place = followed(std::move(place));
  const std::string name = place.filename().string();
  if (name.empty() || name == "." || name == "..") {
    return usage_error("\"{}\": expected the name of a directory to be made", path);
  }
  if (is_mount_point(place)) {
    return failure("{}: is a mount point, which cannot be replaced: name a directory within it",
                   place.string());
  }
  return place;
}

// Network file systems, and kernels from before the call.
bool cannot_exchange(int error) { return error == EINVAL || error == ENOSYS; }

// An older directory stands aside meanwhile, and stays there after a kill in between.
Status replace_in_two_steps(const std::string& staging, const std::string& place) {
  const std::string aside = place + ".replaced";
  std::error_code code;
  fs::remove_all(aside, code);
  const bool older = ::rename(place.c_str(), aside.c_str()) == 0;
  if (::rename(staging.c_str(), place.c_str()) != 0) {
    const int error = errno;
    if (older) fs::rename(aside, place, code);
    return failure("{}: cannot rename to {}: {}", staging, place, std::strerror(error));
  }
  if (older) fs::remove_all(aside, code);
  return {};
}

}  // namespace

Result<StagedDirectory> StagedDirectory::create(const std::string& final_path) {
  UNMASK_TRY(const fs::path place, place_of(final_path));
  UNMASK_TRY_STATUS(make_parent(place.string()));
  remove_abandoned(place);
  StagedDirectory staged;
  staged.final_ = place.string();
  std::string staging = staged.final_ + std::string(kPartial) + std::to_string(::getpid());
  if (::mkdir(staging.c_str(), 0777) != 0) {
    return failure("{}: cannot create: {}", staging, std::strerror(errno));
  }
  staged.staging_ = std::move(staging);
  UNMASK_TRY(staged.lock_, DirectoryLock::take(staged.staging_));
  return staged;
}

StagedDirectory::StagedDirectory(StagedDirectory&& other) noexcept
    : final_(std::move(other.final_)),
      staging_(std::exchange(other.staging_, {})),
      lock_(std::move(other.lock_)) {}

StagedDirectory::~StagedDirectory() {
  std::error_code code;
  if (!staging_.empty()) fs::remove_all(staging_, code);
}

Status StagedDirectory::commit() {
  std::error_code code;
  for (const auto& entry : fs::recursive_directory_iterator(staging_, code)) {
    UNMASK_TRY_STATUS(sync_path(entry.path().string()));
  }
  UNMASK_TRY_STATUS(sync_path(staging_));
  // An older directory is exchanged in one step, so that the name always holds a whole one.
  const int done = renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, final_.c_str(), RENAME_EXCHANGE);
  const int error = done == 0 ? 0 : errno;
  if (error == 0) {
    UNMASK_TRY_STATUS(sync_path(parent_of(final_)));
    fs::remove_all(staging_, code);
  } else if (error == ENOENT || cannot_exchange(error)) {
    UNMASK_TRY_STATUS(replace_in_two_steps(staging_, final_));
    UNMASK_TRY_STATUS(sync_path(parent_of(final_)));
  } else {
    return failure("{}: cannot exchange with {}: {}", staging_, final_, std::strerror(error));
  }
  staging_.clear();
  return {};
}

}  // namespace unmask
