#pragma once

#include <functional>
#include <string>
#include <utility>

#include "unmask/base/result.h"

namespace unmask {

// A directory that this process has to itself, as far as others ask too; until it is destroyed, or
// the process ends in whatever way.
class DirectoryLock {
 public:
  DirectoryLock() = default;  // of nothing
  static Result<DirectoryLock> take(const std::string& path);
  ~DirectoryLock();
  DirectoryLock(DirectoryLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }

  explicit operator bool() const { return file_ >= 0; }

 private:
  int file_ = -1;
};

// A directory being built beside its final place, as NAME.partial-PID, which stays locked. `commit`
// syncs every file and the directory and renames it into place (replacing an older one); without
// commit it is removed. So is what killed processes left of earlier ones for the same place;
// nothing else is.
class StagedDirectory {
 public:
  // Whether what stands at `place`, which messages call `name`, may be lost.
  using Replaceable = std::function<Status(const std::string& place, const std::string& name)>;

  // Fails where `commit` could not rename: for what has no name, and for mount points. A symbolic
  // link stands for what it points to. `check` is asked now, and again of what `commit` displaces.
  static Result<StagedDirectory> create(const std::string& final_path, Replaceable check = {});
  ~StagedDirectory();
  StagedDirectory(StagedDirectory&& other) noexcept;
  StagedDirectory& operator=(StagedDirectory&& other) = delete;

  const std::string& path() const { return staging_; }
  Status commit();

 private:
  StagedDirectory() = default;
  std::string final_;
  Replaceable check_;
  std::string staging_;
  DirectoryLock lock_;
};

}  // namespace unmask
