#include "unmask/base/mapped_file.h"

#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <string>
#include <sys/stat.h>
#include <utility>

#include <gtest/gtest.h>

#include "unmask/base/files.h"

namespace unmask {
namespace {

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, ShowsTheBytes) {
  test::TemporaryDirectory directory;
  const std::string path = directory.path("file");
  ASSERT_TRUE(write_file_atomically(path, "some bytes").ok());
  auto file = MappedFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(text_of(*file), "some bytes");
  EXPECT_EQ(file->path(), path);

  const auto* before = file->bytes().data();
  MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.bytes().data(), before);
  MappedFile assigned;
  assigned = std::move(moved);
  EXPECT_EQ(text_of(assigned), "some bytes");
  EXPECT_EQ(assigned.path(), path);
}

TEST(MappedFile, APipeIsRefusedAtOnce) {
  test::TemporaryDirectory directory;
  const std::string path = directory.path("pipe");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const auto file = MappedFile::open(path);
  ASSERT_FALSE(file.ok());
  EXPECT_NE(file.error().message.find("expected a regular file"), std::string::npos);
}

TEST(MappedFile, AnEmptyFileIsAnEmptySpan) {
  test::TemporaryDirectory directory;
  ASSERT_TRUE(write_file_atomically(directory.path("empty"), "").ok());
  const auto file = MappedFile::open(directory.path("empty"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  test::TemporaryDirectory directory;
  for (const std::string& path : {directory.path("absent"), directory.path()}) {
    const auto file = MappedFile::open(path);
    ASSERT_FALSE(file.ok());
    EXPECT_NE(file.error().message.find(path), std::string::npos) << file.error().message;
  }
}

}  // namespace
}  // namespace unmask
