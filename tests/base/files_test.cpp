#include "unmask/base/files.h"

#include "tests/support/temporary_directory.h"
#include <csignal>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

namespace unmask {
namespace {

namespace fs = std::filesystem;

class FilesTest : public testing::Test {
 protected:
  std::string content(const std::string& path) {
    const auto bytes = read_file(path);
    EXPECT_TRUE(bytes.ok()) << (bytes.ok() ? "" : bytes.error().message);
    return bytes.ok() ? *bytes : "";
  }

  test::TemporaryDirectory directory_;
};

TEST_F(FilesTest, ReadsWhatWasWritten) {
  std::string bytes(200000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 >> 3);
  const std::string path = directory_.path("file");
  ASSERT_TRUE(write_file_atomically(path, bytes).ok());
  EXPECT_EQ(content(path), bytes);
  ASSERT_TRUE(write_file_atomically(path, "").ok());
  EXPECT_EQ(content(path), "");
  EXPECT_FALSE(fs::exists(path + ".partial"));
}

TEST_F(FilesTest, NamesThePathThatFails) {
  for (const std::string& path : {directory_.path("absent"), directory_.path()}) {
    const auto bytes = read_file(path);
    ASSERT_FALSE(bytes.ok());
    EXPECT_NE(bytes.error().message.find(path), std::string::npos) << bytes.error().message;
  }
  ASSERT_TRUE(write_file_atomically(directory_.path("made/on the way/file"), "x").ok());
  const std::string path = directory_.path("made/on the way/file/is no folder");
  const Status written = write_file_atomically(path, "x");
  ASSERT_FALSE(written.ok());
  EXPECT_NE(written.error().message.find(path), std::string::npos) << written.error().message;
}

TEST_F(FilesTest, AFailedWriteKeepsTheOldBytes) {
  const std::string path = directory_.path("file");
  ASSERT_TRUE(write_file_atomically(path, "old").ok());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{5, before.rlim_max};  // as a full disk does, it cuts a write short
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
  const Status status = write_file_atomically(path, "longer than five");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(content(path), "old");
  EXPECT_FALSE(fs::exists(path + ".partial"));
}

TEST_F(FilesTest, ReplacesTheTailOfAFile) {
  const std::string path = directory_.path("file");
  ASSERT_TRUE(replace_tail(path, 0, "first\n").ok()) << "made where it is not there";
  ASSERT_TRUE(replace_tail(path, 6, "second\nthi").ok());
  EXPECT_EQ(content(path), "first\nsecond\nthi");
  ASSERT_TRUE(replace_tail(path, 13, "3").ok());
  EXPECT_EQ(content(path), "first\nsecond\n3");
  ASSERT_TRUE(replace_tail(path, 6, "").ok());
  EXPECT_EQ(content(path), "first\n");
  const Status shorter = replace_tail(path, 7, "x");
  ASSERT_FALSE(shorter.ok());
  EXPECT_NE(shorter.error().message.find("at least 7 bytes, found 6"), std::string::npos);
  EXPECT_EQ(content(path), "first\n");
}

TEST_F(FilesTest, AStagedDirectoryAppearsWhole) {
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
  EXPECT_FALSE(fs::exists(path + ".partial"));
}

TEST_F(FilesTest, AStagedDirectoryReplacesAnOlderOne) {
  const std::string path = directory_.path("checkpoint");
  fs::create_directory(path);
  ASSERT_TRUE(write_file_atomically(path + "/old", "old").ok());
  auto staged = StagedDirectory::create(path);
  ASSERT_TRUE(staged.ok());
  ASSERT_TRUE(write_file_atomically(staged->path() + "/new", "new").ok());
  EXPECT_EQ(content(path + "/old"), "old");
  ASSERT_TRUE(staged->commit().ok());
  EXPECT_EQ(content(path + "/new"), "new");
  EXPECT_FALSE(fs::exists(path + "/old"));
  EXPECT_FALSE(fs::exists(path + ".partial"));
}

TEST_F(FilesTest, WritesThroughLinksAndIntoDevices) {
  const std::string target = directory_.path("target"), link = directory_.path("link");
  fs::create_symlink("target", link);
  for (const char* text : {"into nothing", "over it"}) {
    ASSERT_TRUE(write_file_atomically(link, text).ok());
    EXPECT_TRUE(fs::is_symlink(link));
    EXPECT_EQ(content(target), text);
  }

  const std::string pipe = directory_.path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::string read;
  std::thread reader([&] { read = content(pipe); });
  EXPECT_TRUE(write_file_atomically(pipe, "into a pipe").ok());
  reader.join();
  EXPECT_EQ(read, "into a pipe");
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST_F(FilesTest, AnUncommittedDirectoryLeavesNothing) {
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

TEST_F(FilesTest, AStagedDirectoryRemovesWhatKilledProcessesLeftAndNothingElse) {
  const std::string path = directory_.path("checkpoint");
  const std::string left = path + ".partial-123456789", own = path + ".partial";
  const std::string others[] = {own, path + ".partial-", path + ".partial-1a",
                                path + "2.partial-1"};
  ASSERT_TRUE(write_file_atomically(left + "/weights", "x").ok());
  for (const std::string& other : others) {
    ASSERT_TRUE(write_file_atomically(other + "/precious", "x").ok());
  }
  auto first = StagedDirectory::create(path);
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(fs::is_empty(first->path()));
  EXPECT_FALSE(fs::exists(left));
  for (const std::string& other : others) EXPECT_TRUE(fs::exists(other + "/precious")) << other;
  EXPECT_FALSE(StagedDirectory::create(path).ok());  // while somebody is at work
  EXPECT_TRUE(fs::exists(first->path()));
}

TEST_F(FilesTest, AStagedDirectoryGoesWhereALinkPoints) {
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

TEST_F(FilesTest, AStagedDirectoryNeedsAName) {
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
