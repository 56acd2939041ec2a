#include "unmask/text/token_file.h"

#include "tests/support/temporary_directory.h"
#include <chrono>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "unmask/base/files.h"

namespace unmask {
namespace {

using test::TemporaryDirectory;

using Ids = std::vector<int32_t>;

constexpr int32_t kEnd = 3;

struct Index {
  std::string bytes = std::string("MMIDIDX\0\0", 9);
  template <class T>
  Index& put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
};

// A dataset of 16-bit tokens with the given documents, none of which gets an end token.
std::string write_dataset(const TemporaryDirectory& directory, const std::vector<Ids>& documents,
                          bool modes = false) {
  Index index;
  std::string tokens;
  index.put(uint64_t{1}).put(uint8_t{8});
  index.put(uint64_t{documents.size()}).put(uint64_t{documents.size() + 1});
  for (const Ids& document : documents) index.put(static_cast<int32_t>(document.size()));
  for (const Ids& document : documents) {
    index.put(static_cast<int64_t>(tokens.size()));
    for (const int32_t id : document) {
      const auto narrow = static_cast<uint16_t>(id);
      tokens.append(reinterpret_cast<const char*>(&narrow), 2);
    }
  }
  for (size_t i = 0; i <= documents.size(); ++i) index.put(static_cast<int64_t>(i));
  if (modes) index.bytes.append(documents.size(), '\0');
  directory.write("data.idx", index.bytes);
  directory.write("data.bin", tokens);
  return directory.path("data");
}

Ids read_all(const TokenStream& stream) {
  Ids ids(static_cast<size_t>(stream.size()));
  EXPECT_TRUE(stream.read(0, ids));
  return ids;
}

TEST(TokenFile, ReadsWhatTheWriterWrote) {
  for (const int32_t vocab_size : {258, 65499, 65500, 157184}) {
    const TemporaryDirectory directory;
    const std::string prefix = directory.path("data");
    auto writer = TokenFileWriter::create(prefix, vocab_size, kEnd);
    ASSERT_TRUE(writer);
    const Ids first = {1, 2, vocab_size - 1};
    ASSERT_TRUE(writer.value()->append(first));
    ASSERT_TRUE(writer.value()->append(Ids{7}));
    ASSERT_TRUE(writer.value()->end_document());
    ASSERT_TRUE(writer.value()->append(Ids{5}));
    ASSERT_TRUE(writer.value()->end_document());
    ASSERT_TRUE(writer.value()->finish());
    EXPECT_EQ(std::filesystem::file_size(prefix + ".bin"), vocab_size < 65500 ? 14u : 28u);

    for (const char* suffix : {"", ".bin", ".idx"}) {
      const auto file = TokenFile::open(prefix + suffix, vocab_size, kEnd);
      ASSERT_TRUE(file) << file.error().message;
      EXPECT_EQ(file.value()->documents(), 2);
      EXPECT_EQ(read_all(*file.value()), (Ids{1, 2, vocab_size - 1, 7, kEnd, 5, kEnd}));
    }
  }
}

TEST(TokenFile, AnUnfinishedWriterLeavesNothing) {
  const TemporaryDirectory directory;
  {
    auto writer = TokenFileWriter::create(directory.path("data"), 258, kEnd);
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer.value()->append(Ids{1}));
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_TRUE(TokenFileWriter::create(directory.path("made/data"), 258, kEnd));
  directory.write("file", "");
  EXPECT_FALSE(TokenFileWriter::create(directory.path("file/data"), 258, kEnd));
}

TEST(TokenFile, WritersOfOneDatasetTakeTurns) {
  const TemporaryDirectory directory;
  const std::string prefix = directory.path("data");
  auto first = TokenFileWriter::create(prefix, 258, kEnd);
  ASSERT_TRUE(first);
  std::thread other([&] {
    auto second = TokenFileWriter::create(prefix, 258, kEnd);  // waits
    ASSERT_TRUE(second);
    ASSERT_TRUE(second.value()->append(Ids{8, 9}));
    ASSERT_TRUE(second.value()->end_document());
    ASSERT_TRUE(second.value()->finish());
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_TRUE(first.value()->append(Ids(50'000, 7)));
  ASSERT_TRUE(first.value()->end_document());
  ASSERT_TRUE(first.value()->finish());
  first.value().reset();
  other.join();
  const auto file = TokenFile::open(prefix, 258, kEnd);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(read_all(*file.value()), (Ids{8, 9, kEnd}));
}

TEST(TokenFile, ALinkedDatasetIsWrittenWhereItLies) {
  const TemporaryDirectory directory;
  const std::string real = directory.path("real"), link = directory.path("link");
  for (const Ids& document : {Ids{1, 2, 4}, Ids{5}}) {
    auto writer = TokenFileWriter::create(link, 258, kEnd);
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer.value()->append(document));
    ASSERT_TRUE(writer.value()->end_document());
    ASSERT_TRUE(writer.value()->finish());
    if (document.size() == 1) break;
    for (const char* suffix : {".bin", ".idx"}) {
      std::filesystem::rename(link + suffix, real + suffix);
      std::filesystem::create_symlink(real + suffix, link + suffix);
    }
  }
  const auto file = TokenFile::open(real, 258, kEnd);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(read_all(*file.value()), (Ids{5, kEnd}));
}

TEST(TokenFile, JoinsDocumentsThatHaveNoEndToken) {
  const TemporaryDirectory directory;
  const std::vector<Ids> documents = {{10, 11, 12}, {}, {20}, {30, 31}};
  for (const bool modes : {false, true}) {
    const auto file = TokenFile::open(write_dataset(directory, documents, modes), 258, kEnd);
    ASSERT_TRUE(file) << file.error().message;
    const Ids expected = {10, 11, 12, kEnd, kEnd, 20, kEnd, 30, 31, kEnd};
    EXPECT_EQ(read_all(*file.value()), expected);
    for (size_t begin = 0; begin <= expected.size(); ++begin) {
      for (size_t end = begin; end <= expected.size(); ++end) {
        Ids part(end - begin);
        ASSERT_TRUE(file.value()->read(static_cast<int64_t>(begin), part));
        EXPECT_EQ(part, Ids(expected.begin() + begin, expected.begin() + end));
      }
    }
  }
}

TEST(TokenFile, IdsOutsideTheVocabularyAreErrorsWithTheirPlace) {
  const TemporaryDirectory directory;
  const auto file = TokenFile::open(write_dataset(directory, {{1, 258, kEnd}}), 258, kEnd);
  ASSERT_TRUE(file);
  Ids ids(3);
  const Status status = file.value()->read(0, ids);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("token 1 is 258"), std::string::npos);
}

TEST(TokenFile, EveryTruncationIsAnError) {
  const TemporaryDirectory directory;
  const std::string prefix = write_dataset(directory, {{1, 2, kEnd}, {4, kEnd}});
  const std::string index = *read_file(prefix + ".idx");
  const std::string tokens = *read_file(prefix + ".bin");
  for (size_t size = 0; size < index.size(); ++size) {
    directory.write("data.idx", index.substr(0, size));
    EXPECT_FALSE(TokenFile::open(prefix, 258, kEnd)) << size;
  }
  directory.write("data.idx", index);
  for (size_t size = 0; size < tokens.size(); ++size) {
    directory.write("data.bin", tokens.substr(0, size));
    EXPECT_FALSE(TokenFile::open(prefix, 258, kEnd)) << size;
  }
  directory.write("data.bin", tokens);
  EXPECT_TRUE(TokenFile::open(prefix, 258, kEnd));
  std::filesystem::remove(prefix + ".bin");
  EXPECT_FALSE(TokenFile::open(prefix, 258, kEnd));
}

TEST(TokenFile, LyingIndexesAreErrorsOrReadInBounds) {
  const TemporaryDirectory directory;
  const std::string prefix = write_dataset(directory, {{1, 2, kEnd}, {4, kEnd}});
  const std::string index = *read_file(prefix + ".idx");
  int opened = 0;
  for (size_t at = 0; at < index.size(); ++at) {
    for (const int value : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
      std::string changed = index;
      changed[at] = static_cast<char>(value);
      directory.write("data.idx", changed);
      const auto file = TokenFile::open(prefix, 258, kEnd);
      if (!file) continue;
      ++opened;
      Ids ids(static_cast<size_t>(file.value()->size()));
      EXPECT_LE(ids.size(), 7u);
      (void)file.value()->read(0, ids).ok();
    }
  }
  EXPECT_GT(opened, 0) << "unchanged bytes must still open";
  for (const size_t count_at : {18, 26}) {
    for (const uint64_t lie : {uint64_t{4}, uint64_t{1} << 32, uint64_t{1} << 61, ~uint64_t{0}}) {
      std::string changed = index;
      std::memcpy(changed.data() + count_at, &lie, 8);
      directory.write("data.idx", changed);
      EXPECT_FALSE(TokenFile::open(prefix, 258, kEnd)) << count_at << " " << lie;
    }
  }
}

TEST(TokenFile, OtherIntegerTypesAreReadAndFloatsAreErrors) {
  const TemporaryDirectory directory;
  const std::string prefix = write_dataset(directory, {{1, 0}, {kEnd, 0}});
  std::string index = *read_file(prefix + ".idx");
  // The same bytes as 32-bit tokens: half as many.
  index[17] = 4;
  const int32_t one = 1;
  std::memcpy(index.data() + 34, &one, 4);
  std::memcpy(index.data() + 38, &one, 4);
  directory.write("data.idx", index);
  const auto file = TokenFile::open(prefix, 258, kEnd);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(read_all(*file.value()), (Ids{1, kEnd, kEnd, kEnd}));
  for (const int type : {0, 6, 7, 9}) {
    index[17] = static_cast<char>(type);
    directory.write("data.idx", index);
    EXPECT_FALSE(TokenFile::open(prefix, 258, kEnd));
  }
}

}  // namespace
}  // namespace unmask
