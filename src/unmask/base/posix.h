#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>

#include "unmask/base/result.h"

// What files and directories are made of, for those who write them.
namespace unmask {

// Closes on every way out.
struct Descriptor {
  int file = -1;
  ~Descriptor() {
    if (file >= 0) ::close(file);
  }
};

// How many of the bytes were written: fewer than all where `errno` says why.
size_t write_all(int file, std::string_view bytes);

// What was written to a file, or what stands in a directory, is on the disk.
Status sync_path(const std::string& path);

// The directory that a path lies in.
std::string parent_of(const std::string& path);

// What a chain of symbolic links ends at, whether that is there or not.
std::filesystem::path followed(std::filesystem::path path);

}  // namespace unmask
