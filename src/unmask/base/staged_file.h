#pragma once

#include <string>

#include "unmask/base/result.h"

namespace unmask {

// A file in the making, at another place than the one it replaces: after a crash the path holds the
// old bytes or the new, never a part. Writers of one path take turns: the others wait until this is
// gone. A symbolic link stays one.
class StagedFile {
 public:
  // An empty file. Makes the directory it lies in.
  static Result<StagedFile> create(const std::string& path);
  StagedFile(StagedFile&& other) noexcept;
  StagedFile& operator=(StagedFile&&) = delete;
  ~StagedFile();  // without `commit` nothing is left behind

  const std::string& place() const { return place_; }

  // What was written at `place` is synced and renamed.
  Status commit();

 private:
  StagedFile(std::string path, int file);

  std::string path_;
  std::string place_;
  int file_;  // whose lock makes the others wait
  bool committed_ = false;
};

}  // namespace unmask
