#include "unmask/base/files.h"

#include "tests/support/files.h"
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
using test::content, test::entries;

class FilesTest : public testing::Test {
 protected:
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
  EXPECT_EQ(entries(directory_.path()), 1);
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
  EXPECT_EQ(entries(directory_.path()), 1);
}

TEST_F(FilesTest, WritersOfOneFileTakeTurns) {
  const std::string path = directory_.path("file");
  const auto write_often = [&](char letter) {
    for (int i = 0; i < 50; ++i) {
      const Status status = write_file_atomically(path, std::string(100000, letter));
      EXPECT_TRUE(status.ok()) << status.error().message;
    }
  };
  std::thread other(write_often, 'b');
  write_often('a');
  other.join();
  const std::string bytes = content(path);
  EXPECT_EQ(bytes, std::string(100000, bytes.at(0)));
  EXPECT_EQ(entries(directory_.path()), 1);
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

}  // namespace
}  // namespace unmask
