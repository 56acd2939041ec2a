#include "unmask/checkpoint/safetensors.h"

#include "tests/support/golden.h"
#include "tests/support/temporary_directory.h"
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/bf16.h"
#include "unmask/base/files.h"
#include "unmask/base/random.h"

namespace unmask {
namespace {

using test::TemporaryDirectory;

std::string with_header(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

class SafetensorsTest : public testing::Test {
 protected:
  std::string write(const std::string& bytes, const std::string& name = "x.safetensors") {
    EXPECT_TRUE(write_file_atomically(directory_.path(name), bytes).ok());
    return directory_.path(name);
  }
  Result<Safetensors> open(const std::string& bytes) { return Safetensors::open(write(bytes)); }

  void expect_refused(const std::string& bytes, const std::vector<std::string>& words) {
    const auto file = open(bytes);
    ASSERT_FALSE(file.ok()) << words[0];
    const std::string& message = file.error().message;
    EXPECT_NE(message.find("x.safetensors"), std::string::npos) << message;
    for (const std::string& word : words) {
      EXPECT_NE(message.find(word), std::string::npos) << word << " not in: " << message;
    }
  }

  TemporaryDirectory directory_;
};

TEST(SafetensorsGolden, Dtypes) {
  for (const test::GoldenCase& one : test::golden_cases("dtypes")) {
    const auto f32 = one.f32("f32");
    const auto narrow = one.f32("bf16");
    EXPECT_EQ(narrow.shape, (std::vector<int64_t>{3, 5}));
    EXPECT_EQ(narrow.values, one.f32("bf16_as_f32").values);
    ASSERT_EQ(f32.values.size(), narrow.values.size());
    for (size_t i = 0; i < f32.values.size(); ++i) {
      EXPECT_EQ(round_to_bf16(f32.values[i]), narrow.values[i]) << i;
    }
    EXPECT_EQ(one.f32("scalar").shape.size(), 0u);
    EXPECT_EQ(one.f32("scalar").values.size(), 1u);
    EXPECT_EQ(one.f32("empty").shape, (std::vector<int64_t>{0, 3}));
    EXPECT_TRUE(one.f32("empty").values.empty());
    EXPECT_EQ(one.i64("i32").values.size(), 4u);
    EXPECT_EQ(one.i64("i64").values.size(), 3u);
    for (const int64_t flag : one.i64("bool_u8").values) EXPECT_TRUE(flag == 0 || flag == 1);
    EXPECT_THROW(one.i64("f32"), std::runtime_error);
    EXPECT_THROW(one.f32("absent"), std::runtime_error);
  }
}

TEST_F(SafetensorsTest, ReadsEveryDtype) {
  struct Case {
    std::string dtype;
    std::string data;
    std::vector<float> expected;
    bool integer;
  };
  const std::vector<Case> cases = {
      {"F64", raw<double>({1.5, -2.25}), {1.5f, -2.25f}, false},
      {"F32", raw<float>({1.5f, -0.0f}), {1.5f, -0.0f}, false},
      {"F16", raw<uint16_t>({0x3C00, 0xC100, 0x0001, 0x7BFF}), {1, -2.5f, 0x1p-24f, 65504}, false},
      {"BF16", raw<uint16_t>({0x3F80, 0xC020}), {1, -2.5f}, false},
      {"I64", raw<int64_t>({-3, 70000}), {-3, 70000}, true},
      {"I32", raw<int32_t>({-3, 70000}), {-3, 70000}, true},
      {"I16", raw<int16_t>({-3, 30000}), {-3, 30000}, true},
      {"I8", raw<int8_t>({-3, 100}), {-3, 100}, true},
      {"U64", raw<uint64_t>({3, 70000}), {3, 70000}, true},
      {"U32", raw<uint32_t>({3, 70000}), {3, 70000}, true},
      {"U16", raw<uint16_t>({3, 60000}), {3, 60000}, true},
      {"U8", raw<uint8_t>({3, 200}), {3, 200}, true},
      {"BOOL", raw<uint8_t>({0, 1, 255}), {0, 1, 1}, true},
  };
  for (const Case& one : cases) {
    const auto file = open(
        with_header(fmt::format(R"({{"x":{{"dtype":"{}","shape":[{}],"data_offsets":[0,{}]}}}})",
                                one.dtype, one.expected.size(), one.data.size()),
                    one.data));
    ASSERT_TRUE(file.ok()) << file.error().message;
    const Tensor& tensor = *file->find("x");
    EXPECT_EQ(dtype_name(tensor.dtype), one.dtype);
    std::vector<float> values(one.expected.size());
    ASSERT_EQ(tensor.elements(), static_cast<int64_t>(values.size())) << one.dtype;
    ASSERT_TRUE(file->read(tensor, std::span<float>(values)).ok());
    EXPECT_EQ(values, one.expected) << one.dtype;
    std::vector<int64_t> integers(values.size());
    const Status status = file->read(tensor, std::span<int64_t>(integers));
    EXPECT_EQ(status.ok(), one.integer) << one.dtype;
    if (one.integer) {
      EXPECT_EQ(integers, std::vector<int64_t>(values.begin(), values.end()));
    }
  }
}

TEST_F(SafetensorsTest, ReadsInTheOrderOfTheDataWithMetadata) {
  const auto file = open(with_header(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},)"
      R"("e":{"dtype":"F32","shape":[0,3],"data_offsets":[2,2]},)"
      R"("z":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}})",
      "abc"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->metadata().at("format"), "pt");
  ASSERT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(file->tensors()[0].name, "z");
  EXPECT_EQ(file->tensors()[1].name, "e");
  EXPECT_EQ(file->tensors()[2].name, "a");
  EXPECT_EQ(file->find("b"), nullptr);
}

TEST_F(SafetensorsTest, RefusesDamagedFiles) {
  const std::string four = "abcd";
  const auto one = [&](const std::string& tensor) {
    return with_header(R"({"weight":)" + tensor + "}", four);
  };
  expect_refused("", {"0 bytes"});
  expect_refused("abcdefg", {"7 bytes"});
  expect_refused(std::string(8, '\xff') + "{}", {"header of 18446744073709551615 bytes"});
  expect_refused(with_header("{}", "").substr(0, 9), {"header of 2 bytes in a file of 9"});
  expect_refused(with_header("[]", ""), {"not a JSON object"});
  expect_refused(with_header("{\"a\":", ""), {"not a JSON object"});
  expect_refused(with_header("{\"\xff\":1}", ""), {"not a JSON object"});
  expect_refused(with_header(R"({"a":{"dtype":[[[1]]]}})", ""), {"nested too deeply"});
  expect_refused(with_header(std::string(1 << 20, '['), ""), {"nested too deeply"});
  expect_refused(one("3"), {"\"weight\"", "an object with dtype"});
  expect_refused(one(R"({"dtype":"F32","shape":[1]})"), {"\"weight\"", "data_offsets"});
  expect_refused(one(R"({"dtype":"F33","shape":[1],"data_offsets":[0,4]})"),
                 {"\"weight\"", "dtype \"F33\": expected whole numbers"});
  expect_refused(one(R"({"dtype":7,"shape":[1],"data_offsets":[0,4]})"),
                 {"\"weight\"", "dtype (not a string)"});
  expect_refused(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"),
                 {"\"weight\"", "non-negative"});
  expect_refused(one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})"),
                 {"\"weight\"", "non-negative"});
  expect_refused(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})"),
                 {"\"weight\"", "overflows"});
  expect_refused(one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]})"),
                 {"\"weight\"", "non-negative"});
  expect_refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"),
                 {"\"weight\"", "takes 8 bytes", "give 4"});
  expect_refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"),
                 {"\"weight\"", "outside the file's 4 bytes"});
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"),
                 {"\"weight\"", "outside"});
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"),
                 {"\"weight\"", "two non-negative"});
  expect_refused(one(R"({"dtype":"U8","shape":[3],"data_offsets":[0,3]})"), {"1 bytes after"});
  expect_refused(one(R"({"dtype":"U8","shape":[3],"data_offsets":[1,4]})"),
                 {"\"weight\"", "leaves a gap"});
  expect_refused(with_header(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                             R"("b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                             four),
                 {"\"b\"", "overlaps"});
  expect_refused(with_header(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                             R"("a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                             four),
                 {"\"a\"", "listed twice"});
  expect_refused(with_header("{\"\\u001b[2J\":1}", four), {"\\x1b"});

  const auto missing = Safetensors::open(directory_.path("absent"));
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message.find("absent"), std::string::npos);
  EXPECT_FALSE(Safetensors::open(directory_.path("")).ok());
}

// Reads all there is; the sanitizers watch.
void read_everything(const Result<Safetensors>& file) {
  if (!file.ok()) {
    EXPECT_FALSE(file.error().message.empty());
    return;
  }
  for (const Tensor& tensor : file->tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    EXPECT_TRUE(file->read(tensor, std::span<float>(values)).ok());
  }
}

TEST_F(SafetensorsTest, SurvivesEveryTruncationAndRandomDamage) {
  auto writer = SafetensorsWriter::create(
      directory_.path("small"), {{"first", DType::f32, {2, 3}}, {"second", DType::bf16, {4}}},
      {{"format", "pt"}});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->append(std::vector<float>{1, 2, 3, 4, 5, 6}).ok());
  ASSERT_TRUE(writer->append(std::vector<float>{1, 2, 3, 4}).ok());
  ASSERT_TRUE(writer->finish().ok());
  const auto whole = read_file(directory_.path("small"));
  ASSERT_TRUE(whole.ok());
  ASSERT_TRUE(open(*whole).ok());

  const std::string path = directory_.path("damaged");
  const auto attempt = [&](const std::string& bytes) {
    // A new file each time: truncating one makes some file systems wait for the disk.
    std::filesystem::remove(path);
    std::FILE* file = std::fopen(path.c_str(), "wb");
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
    std::fclose(file);
    read_everything(Safetensors::open(path));
  };
  for (size_t length = 0; length < whole->size(); ++length) {
    attempt(whole->substr(0, length));
    EXPECT_FALSE(Safetensors::open(path).ok()) << length;
  }
  const RandomKey key{11, Purpose::synthetic};
  for (uint64_t round = 0; round < 1000; ++round) {
    std::string bytes = *whole;
    const uint64_t flips = 1 + random_below(key, 4, round, 0);
    for (uint32_t flip = 0; flip < flips; ++flip) {
      bytes[random_below(key, bytes.size(), round, 1, flip)] ^=
          static_cast<char>(1 + random_below(key, 255, round, 2, flip));
    }
    attempt(bytes);
  }
}

TEST_F(SafetensorsTest, WritesWhatItReads) {
  const std::string path = directory_.path("written");
  const std::vector<float> matrix = {1.5f,
                                     -0.0f,
                                     std::numeric_limits<float>::denorm_min(),
                                     std::numeric_limits<float>::infinity(),
                                     3.1415927f,
                                     1e-38f};
  const std::vector<float> long_vector(10000, 1.0f + 0x1p-8f);  // halfway: to even
  const std::vector<int64_t> integers = {-1, std::numeric_limits<int64_t>::max()};
  {
    auto writer = SafetensorsWriter::create(path,
                                            {{"none", DType::bf16, {0, 2}},
                                             {"matrix", DType::f32, {2, 3}},
                                             {"empty", DType::f32, {5, 0}},
                                             {"narrow", DType::bf16, {10000}},
                                             {"integers", DType::i64, {2}},
                                             {"scalar", DType::f32, {}},
                                             {"last", DType::f32, {0}}},
                                            {{"format", "pt"}});
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    ASSERT_TRUE(writer->append(std::span(matrix).first(1)).ok());
    ASSERT_TRUE(writer->append(std::span(matrix).subspan(1)).ok());
    ASSERT_TRUE(writer->append(long_vector).ok());
    ASSERT_TRUE(writer->append(integers).ok());
    ASSERT_TRUE(writer->append(std::vector<float>{7}).ok());
    ASSERT_TRUE(writer->finish().ok());
  }
  const auto file = Safetensors::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_EQ(file->tensors().size(), 7u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file->tensors()[0].bytes.data()) % 64, 0u);
  std::vector<float> read(6);
  ASSERT_TRUE(file->read(*file->find("matrix"), std::span<float>(read)).ok());
  EXPECT_EQ(std::memcmp(read.data(), matrix.data(), 24), 0);
  read.resize(10000);
  ASSERT_TRUE(file->read(*file->find("narrow"), std::span<float>(read)).ok());
  EXPECT_EQ(read, std::vector<float>(10000, 1.0f));
  std::vector<int64_t> read_integers(2);
  ASSERT_TRUE(file->read(*file->find("integers"), std::span<int64_t>(read_integers)).ok());
  EXPECT_EQ(read_integers, integers);
  read.resize(1);
  ASSERT_TRUE(file->read(*file->find("scalar"), std::span<float>(read)).ok());
  EXPECT_EQ(read[0], 7);
  EXPECT_EQ(file->find("empty")->shape, (std::vector<int64_t>{5, 0}));
  EXPECT_EQ(file->metadata().at("format"), "pt");
}

TEST_F(SafetensorsTest, RemovesAnUnfinishedFile) {
  const std::string path = directory_.path("unfinished");
  {
    auto writer = SafetensorsWriter::create(path, {{"a", DType::f32, {2}}});
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->append(std::vector<float>{1}).ok());
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(SafetensorsTest, ReportsAFullDisk) {
  // Every write to /dev/full fails with ENOSPC. The link keeps the device out of the writer's
  // clean-up.
  const std::string path = directory_.path("full");
  std::filesystem::create_symlink("/dev/full", path);
  const auto writer = SafetensorsWriter::create(path, {{"a", DType::f32, {1}}});
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(writer.error().message.find("No space left"), std::string::npos)
      << writer.error().message;
}

class ShardsTest : public SafetensorsTest {
 protected:
  void shard(const std::string& name, const std::string& tensor) {
    write(with_header(R"({")" + tensor + R"(":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                      "ab"),
          name);
  }
  std::string refused(const std::string& index) {
    write(index, "model.safetensors.index.json");
    const auto archive = Safetensors::open_directory(directory_.path());
    EXPECT_FALSE(archive.ok()) << index;
    return archive.ok() ? "" : archive.error().message;
  }
};

TEST_F(ShardsTest, OpensAllOfThem) {
  shard("one.safetensors", "a");
  shard("two.safetensors", "b");
  write(
      R"({"metadata":{"total_size":4},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})",
      "model.safetensors.index.json");
  const auto archive = Safetensors::open_directory(directory_.path());
  ASSERT_TRUE(archive.ok()) << archive.error().message;
  EXPECT_EQ(archive->tensors().size(), 2u);
  EXPECT_NE(archive->where(*archive->find("b")).find("two.safetensors"), std::string::npos);
}

TEST_F(ShardsTest, NamesWhatIsWrong) {
  const auto nothing = Safetensors::open_directory(directory_.path());
  ASSERT_FALSE(nothing.ok());
  EXPECT_NE(nothing.error().message.find("found neither"), std::string::npos);

  shard("one.safetensors", "a");
  shard("two.safetensors", "a");
  EXPECT_NE(refused("{").find("weight_map"), std::string::npos);
  EXPECT_NE(refused(R"({"weight_map":{"a":"../one.safetensors"}})").find("same directory"),
            std::string::npos);
  EXPECT_NE(refused(R"({"weight_map":{"a":"three.safetensors"}})").find("three.safetensors"),
            std::string::npos);
  EXPECT_NE(refused(R"({"weight_map":{"b":"one.safetensors"}})").find("does not hold it"),
            std::string::npos);
  EXPECT_NE(refused(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})")
                .find("another file holds it"),
            std::string::npos);
}

}  // namespace
}  // namespace unmask
