#include "unmask/base/staged_directory.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <stdio.h>
#include <string_view>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unmask/base/files.h"
#include "unmask/base/posix.h"

namespace unmask {
namespace fs = std::filesystem;
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
  fs::path place = path;
  while (!place.has_filename() && place.has_relative_path()) place = place.parent_path();  // a//: a
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

Status sync_tree(const std::string& directory) {
  std::error_code code;
  fs::recursive_directory_iterator entry(directory, code);
  for (; !code && entry != fs::recursive_directory_iterator(); entry.increment(code)) {
    UNMASK_TRY_STATUS(sync_path(entry->path().string()));
  }
  if (code) return failure("{}: cannot list: {}", directory, code.message());
  return sync_path(directory);
}

Error cannot_rename(const std::string& staging, const std::string& place, int error) {
  return failure("{}: cannot rename to {}: {}", staging, place, std::strerror(error));
}

// What stands at `place` goes aside, and stays there after a kill in between.
Result<std::string> replace_in_two_steps(const std::string& staging, const std::string& place) {
  std::string aside = place + ".replaced";
  std::error_code code;
  fs::remove_all(aside, code);
  if (::rename(place.c_str(), aside.c_str()) != 0) return cannot_rename(place, aside, errno);
  if (::rename(staging.c_str(), place.c_str()) == 0) return aside;
  const int error = errno;
  fs::rename(aside, place, code);
  return cannot_rename(staging, place, error);
}

// Nothing, or an empty directory, gives way to a directory that is renamed.
bool is_in_the_way(int error) { return error == ENOTEMPTY || error == EEXIST || error == ENOTDIR; }

// Network file systems, and kernels from before the call.
bool cannot_exchange(int error) { return error == EINVAL || error == ENOSYS; }

// Back to where it stood, after all. On error it stays beside the new one.
Error put_back(const std::string& displaced, const std::string& place, Error reason) {
  if (renameat2(AT_FDCWD, displaced.c_str(), AT_FDCWD, place.c_str(), RENAME_EXCHANGE) == 0) {
    std::error_code code;
    fs::remove_all(displaced, code);
  } else {
    reason.message += fmt::format(" ({} is now {})", place, displaced);
  }
  return reason;
}

// Where what stood at `place` is then; empty: nothing did. It is exchanged in one step, so that the
// name always holds a whole one.
Result<std::string> put(const std::string& staging, const std::string& place) {
  if (::rename(staging.c_str(), place.c_str()) == 0) return std::string();
  if (!is_in_the_way(errno)) return cannot_rename(staging, place, errno);
  if (renameat2(AT_FDCWD, staging.c_str(), AT_FDCWD, place.c_str(), RENAME_EXCHANGE) == 0) {
    return staging;
  }
  if (cannot_exchange(errno)) return replace_in_two_steps(staging, place);
  return cannot_rename(staging, place, errno);
}

}  // namespace

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

Result<StagedDirectory> StagedDirectory::create(const std::string& final_path, Replaceable check) {
  UNMASK_TRY(const fs::path place, place_of(final_path));
  if (check && path_exists(place)) UNMASK_TRY_STATUS(check(place.string(), final_path));
  UNMASK_TRY_STATUS(make_parent(place.string()));
  remove_abandoned(place);
  StagedDirectory staged;
  staged.final_ = place.string();
  staged.check_ = std::move(check);
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
      check_(std::move(other.check_)),
      staging_(std::exchange(other.staging_, {})),
      lock_(std::move(other.lock_)) {}

StagedDirectory::~StagedDirectory() {
  std::error_code code;
  if (!staging_.empty()) fs::remove_all(staging_, code);
}

Status StagedDirectory::commit() {
  UNMASK_TRY_STATUS(sync_tree(staging_));
  UNMASK_TRY(const std::string displaced, put(staging_, final_));
  staging_.clear();
  if (check_ && !displaced.empty()) {
    if (Status may = check_(displaced, final_); !may)
      return put_back(displaced, final_, may.error());
  }
  UNMASK_TRY_STATUS(sync_path(parent_of(final_)));
  std::error_code code;
  if (!displaced.empty()) fs::remove_all(displaced, code);
  return {};
}

}  // namespace unmask
