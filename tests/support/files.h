#pragma once

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "unmask/base/files.h"

namespace unmask::test {

// The bytes of a file that has to be there.
inline std::string content(const std::string& path) {
  const auto bytes = read_file(path);
  EXPECT_TRUE(bytes.ok()) << (bytes.ok() ? "" : bytes.error().message);
  return bytes.ok() ? *bytes : "";
}

// How many names a directory holds.
inline int64_t entries(const std::string& directory) {
  using Names = std::filesystem::directory_iterator;
  return std::distance(Names(directory), Names());
}

}  // namespace unmask::test
