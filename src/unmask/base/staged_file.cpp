#include "unmask/base/staged_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "unmask/base/files.h"
#include "unmask/base/posix.h"

namespace unmask {
namespace {

std::string staging_place(const std::string& path) { return path + ".partial"; }

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

StagedFile::StagedFile(std::string path, int file)
    : path_(std::move(path)), place_(staging_place(path_)), file_(file) {}

StagedFile::StagedFile(StagedFile&& other) noexcept
    : path_(std::move(other.path_)),
      place_(std::move(other.place_)),
      file_(std::exchange(other.file_, -1)),
      committed_(other.committed_) {}

StagedFile::~StagedFile() {
  if (file_ < 0) return;
  if (!committed_) ::unlink(place_.c_str());
  ::close(file_);
}

Result<StagedFile> StagedFile::create(const std::string& given) {
  const std::string path = followed(given).string();
  UNMASK_TRY_STATUS(make_parent(path));
  const std::string place = staging_place(path);
  const int file = open_staging(place);
  if (file < 0) return failure("{}: cannot create: {}", place, std::strerror(errno));
  return StagedFile(path, file);
}

Status StagedFile::commit() {
  if (::fsync(file_) != 0) return failure("{}: cannot sync: {}", path_, std::strerror(errno));
  if (::rename(place_.c_str(), path_.c_str()) != 0) {
    return failure("{}: cannot rename: {}", path_, std::strerror(errno));
  }
  committed_ = true;
  return sync_path(parent_of(path_));
}

}  // namespace unmask
