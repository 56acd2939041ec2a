#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "unmask/base/result.h"

namespace unmask {

// A file mapped read-only. Owns the mapping; an empty file is an empty span.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }

  // Copies what lies at `mapped` from the file, past the mapping, whose pages would count as this
  // process's memory.
  Status read(const std::byte* mapped, std::span<std::byte> out) const;

  // An error when somebody has written to the file since it was opened: what is mapped is then a
  // mixture. (Another file of that name does no harm.)
  Status unchanged() const;

  const std::string& path() const { return path_; }

  // Bytes that have been read and will not be for a while no longer count as this process's memory;
  // the next reading brings them back. Of any range, on any thread.
  void release(std::span<const std::byte> part) const;

 private:
  // Who the file is and when it was written.
  struct Stamp {
    int64_t size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(int file);

  std::string path_;
  int file_ = -1;
  Stamp stamp_;
  std::span<const std::byte> bytes_;
};

}  // namespace unmask
