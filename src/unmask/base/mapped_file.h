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
  const std::string& path() const { return path_; }

  // Bytes that have been read and will not be for a while no longer count as this process's memory;
  // the next reading brings them back. Of any range, on any thread.
  void release(std::span<const std::byte> part) const;

 private:
  std::string path_;
  std::span<const std::byte> bytes_;
};

}  // namespace unmask
