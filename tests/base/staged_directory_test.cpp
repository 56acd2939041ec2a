#include "unmask/base/staged_directory.h"

#include "tests/support/files.h"
#include "tests/support/temporary_directory.h"
#include <filesystem>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "unmask/base/files.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using test::content, test::entries;

class StagedDirectoryTest : public testing::Test {
 protected:
  test::TemporaryDirectory directory_;
};

TEST_F(StagedDirectoryTest, AppearsWhole) {
  const std::string path = directory_.path("run/checkpoint");
  {
    auto staged = StagedDirectory::create(path + "/");
    ASSERT_TRUE(staged.ok()) << staged.error().message;
    fs::create_directory(staged->path() + "/inner");
    ASSERT_TRUE(write_file_atomically(staged->path() + "/inner/file", "first").ok());
    EXPECT_FALSE(fs::exists(path));
    ASSERT_TRUE(staged->commit().ok());
  }
  EXPECT_EQ(content(path + "/inner/file"), "first");
  EXPECT_EQ(entries(directory_.path("run")), 1);
}

TEST_F(StagedDirectoryTest, ReplacesAnOlderOne) {
  const std::string path = directory_.path("run/checkpoint");
  fs::create_directories(path);
  ASSERT_TRUE(write_file_atomically(path + "/old", "old").ok());
  auto staged = StagedDirectory::create(path);
  ASSERT_TRUE(staged.ok());
  ASSERT_TRUE(write_file_atomically(staged->path() + "/new", "new").ok());
  EXPECT_EQ(content(path + "/old"), "old");
  ASSERT_TRUE(staged->commit().ok());
  EXPECT_EQ(content(path + "/new"), "new");
  EXPECT_FALSE(fs::exists(path + "/old"));
  EXPECT_EQ(entries(directory_.path("run")), 1);
}

TEST_F(StagedDirectoryTest, AnUncommittedDirectoryLeavesNothing) {
  const std::string path = directory_.path("checkpoint");
  std::string staging;
  {
    auto staged = StagedDirectory::create(path);
    ASSERT_TRUE(staged.ok());
    StagedDirectory moved = std::move(*staged);
    staging = moved.path();
    EXPECT_TRUE(fs::exists(staging));
    ASSERT_TRUE(write_file_atomically(moved.path() + "/file", "x").ok());
  }
  EXPECT_FALSE(fs::exists(staging));
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(StagedDirectoryTest, RemovesWhatKilledProcessesLeftAndNothingElse) {
  const std::string path = directory_.path("checkpoint");
  const std::string left = path + ".partial-123456789", own = path + ".partial";
  const std::string others[] = {own, path + ".partial-", path + ".partial-1a", path + "2.partial-1",
                                path + ".replaced"};
  ASSERT_TRUE(write_file_atomically(left + "/weights", "x").ok());
  for (const std::string& other : others) {
    ASSERT_TRUE(write_file_atomically(other + "/precious", "x").ok());
  }
  const std::string link = path + ".partial-7";
  fs::create_directory_symlink(own, link);
  auto first = StagedDirectory::create(path);
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(fs::is_empty(first->path()));
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_FALSE(fs::exists(left));
  for (const std::string& other : others) EXPECT_TRUE(fs::exists(other + "/precious")) << other;
  EXPECT_FALSE(StagedDirectory::create(path).ok());  // while somebody is at work
  EXPECT_TRUE(fs::exists(first->path()));
  ASSERT_TRUE(first->commit().ok());
  for (const std::string& other : others) EXPECT_TRUE(fs::exists(other + "/precious")) << other;
}

TEST_F(StagedDirectoryTest, GoesWhereALinkPoints) {
  const std::string target = directory_.path("target"), link = directory_.path("link");
  fs::create_directory_symlink("target", link);
  for (const std::string& name : {link, link + "/"}) {  // dangling at first
    auto staged = StagedDirectory::create(name);
    ASSERT_TRUE(staged.ok()) << staged.error().message;
    ASSERT_TRUE(write_file_atomically(staged->path() + "/file", name).ok());
    ASSERT_TRUE(staged->commit().ok());
    EXPECT_TRUE(fs::is_symlink(link)) << name;
    EXPECT_EQ(content(target + "/file"), name);
  }
}

// work/link/.. is what the link points to, one up.
TEST_F(StagedDirectoryTest, GoesWhereTheSystemWouldGo) {
  const std::string work = directory_.path("work"), other = directory_.path("other");
  fs::create_directories(work + "/out");
  fs::create_directories(other + "/inner");
  fs::create_directory_symlink("../other/inner", work + "/link");
  auto staged = StagedDirectory::create(work + "/link/../out//");
  ASSERT_TRUE(staged.ok()) << staged.error().message;
  ASSERT_TRUE(write_file_atomically(staged->path() + "/file", "x").ok());
  ASSERT_TRUE(staged->commit().ok());
  EXPECT_EQ(content(other + "/out/file"), "x");
  EXPECT_TRUE(fs::is_empty(work + "/out"));
}

TEST_F(StagedDirectoryTest, WhatMayNotBeLostStays) {
  const std::string path = directory_.path("out");
  const auto check = [](const std::string& place, const std::string& name) -> Status {
    if (fs::exists(place + "/precious")) return failure("{}: holds what is precious", name);
    return {};
  };
  ASSERT_TRUE(write_file_atomically(path + "/precious", "x").ok());
  EXPECT_FALSE(StagedDirectory::create(path, check).ok());
  fs::remove_all(path);
  {
    auto staged = StagedDirectory::create(path, check);
    ASSERT_TRUE(staged.ok()) << staged.error().message;
    ASSERT_TRUE(write_file_atomically(path + "/precious", "x").ok());  // meanwhile
    const Status status = staged->commit();
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().message, path + ": holds what is precious");
  }
  EXPECT_EQ(content(path + "/precious"), "x");
  EXPECT_EQ(entries(directory_.path("")), 1);
}

TEST_F(StagedDirectoryTest, NeedsAName) {
  for (const char* path : {"", ".", "..", "/", "a/.."}) {
    const auto staged = StagedDirectory::create(path);
    ASSERT_FALSE(staged.ok()) << path;
    EXPECT_NE(staged.error().message.find("expected the name of a directory"), std::string::npos)
        << staged.error().message;
  }
  const auto mounted = StagedDirectory::create("/proc");
  ASSERT_FALSE(mounted.ok());
  EXPECT_NE(mounted.error().message.find("mount point"), std::string::npos)
      << mounted.error().message;
}

}  // namespace
}  // namespace unmask
