#include "unmask/base/mapped_file.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace unmask {

Result<MappedFile> MappedFile::open(const std::string& path) {
  // Not to wait for somebody to write into a pipe; regular files do not notice.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return failure("{}: cannot open: {}", path, std::strerror(errno));
  struct stat info = {};
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(file);
    return failure("{}: expected a regular file", path);
  }
  MappedFile mapped;
  mapped.path_ = path;
  const auto size = static_cast<size_t>(info.st_size);
  if (size > 0) {
    void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (memory == MAP_FAILED) {
      close(file);
      return failure("{}: cannot map {} bytes: {}", path, size, std::strerror(errno));
    }
    mapped.bytes_ = {static_cast<const std::byte*>(memory), size};
  }
  mapped.file_ = file;
  mapped.stamp_ = stamp_of(file);
  return mapped;
}

MappedFile::~MappedFile() {
  if (file_ >= 0) close(file_);
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      stamp_(other.stamp_),
      bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(stamp_, other.stamp_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::Stamp MappedFile::stamp_of(int file) {
  struct stat info = {};
  fstat(file, &info);
  return {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

Status MappedFile::unchanged() const {
  if (stamp_of(file_) == stamp_) return {};
  return failure("{}: changed while it was in use: expected the file as it was opened; start again",
                 path_);
}

Status MappedFile::read(const std::byte* mapped, std::span<std::byte> out) const {
  auto offset = static_cast<size_t>(mapped - bytes_.data());
  while (!out.empty()) {
    const ssize_t count = pread(file_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return failure("{}: cannot read {} bytes at {}: {}", path_, out.size(), offset,
                     count < 0 ? std::strerror(errno) : "the file has become shorter");
    }
    offset += static_cast<size_t>(count);
    out = out.subspan(static_cast<size_t>(count));
  }
  return {};
}

void MappedFile::release(std::span<const std::byte> part) const {
  if (part.empty()) return;
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  // Outward, or the pages that two pieces share would stay.
  const auto begin = reinterpret_cast<uintptr_t>(part.data()) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size());
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace unmask
