#include "unmask/base/document.h"

#include "tests/support/temporary_directory.h"
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "unmask/base/json_text.h"

namespace unmask {
namespace {

nlohmann::json toml(std::string_view text) {
  auto document = parse_toml(text, "test.toml");
  EXPECT_TRUE(document.ok()) << document.error().message;
  return document.ok() ? document.value() : nlohmann::json();
}

enum class Shape { round, square };

struct Settings {
  int32_t count = 3;
  double rate = 0.5;
  bool on = false;
  std::string name = "none";
  std::vector<std::vector<float>> points;
  std::optional<int64_t> limit;
  Shape shape = Shape::round;
  int32_t inner = 0;
};

Status read(const nlohmann::json& json, Settings& settings) {
  Fields fields(json, "settings");
  fields.read_between("count", settings.count, 1, 100);
  fields.read("rate", settings.rate);
  fields.read("on", settings.on);
  fields.read("name", settings.name);
  fields.read("points", settings.points);
  fields.read("limit", settings.limit);
  fields.read_enum("shape", settings.shape, {{"round", Shape::round}, {"square", Shape::square}});
  fields.table("nested", [&](Fields& nested) { nested.require("inner", settings.inner); });
  return fields.finish();
}

std::string error_of(std::string_view text) {
  Settings settings;
  const Status status = read(toml(text), settings);
  if (status) return "";
  EXPECT_EQ(status.error().kind, Error::Kind::usage);
  return status.error().message;
}

TEST(Toml, BecomesJson) {
  const nlohmann::json expected = json_in(R"({
    "a": {"b": {"c": 1}, "d": [1.5, "x", true]}, "list": [{"k": 1}, {"k": 2}], "day": "2024-02-03"})");
  EXPECT_EQ(
      toml("day = 2024-02-03\n[a]\nb.c = 1\nd = [1.5, 'x', true]\n[[list]]\nk=1\n[[list]]\nk=2"),
      expected);
}

TEST(Toml, ErrorsNameTheLine) {
  const auto broken = parse_toml("a = 1\nb = = 2\n", "broken.toml");
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().message.rfind("broken.toml:2:", 0), 0u) << broken.error().message;
  EXPECT_EQ(broken.error().kind, Error::Kind::usage);
  EXPECT_FALSE(parse_toml("a = \"\xff\xfe\"", "bytes.toml").ok());
  EXPECT_FALSE(parse_toml("a = 1\na = 2", "twice.toml").ok());
}

TEST(Toml, RefusesKeysOfEndlesslyManyParts) {
  std::string key;
  for (int i = 0; i < 20000; ++i) key += "a.";
  const auto refused = parse_toml(key + "a = 1", "test.toml");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("more than a thousand"), std::string::npos);
  EXPECT_EQ(toml("a.b.c = 1.5")["a"]["b"]["c"], 1.5);
}

TEST(Json, ErrorsNameTheFileAndLine) {
  const auto broken = parse_json("{\n\"a\": ]}", "config.json");
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().message.rfind("config.json: parse error at line 2", 0), 0u)
      << broken.error().message;
  const auto large = parse_json(R"({"a": 1e999})", "config.json");
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().message.rfind("config.json: number overflow", 0), 0u)
      << large.error().message;
}

TEST(Document, ReadsFiles) {
  const auto directory = std::filesystem::path(testing::TempDir());
  const std::string toml_path = directory / "document_test.toml";
  const std::string json_path = directory / "document_test.json";
  std::ofstream(toml_path) << "[a]\nb = 1\n";
  std::ofstream(json_path) << R"({"a": {"b": 1}})";
  EXPECT_EQ(read_toml_file(toml_path).value(), read_json_file(json_path).value());
  EXPECT_FALSE(read_toml_file(directory / "document_test_absent.toml").ok());
}

TEST(Document, LaysAFileOverItsBase) {
  const auto directory = std::filesystem::path(testing::TempDir()) / "document_test_layers";
  std::filesystem::create_directories(directory / "deeper");
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(directory / name) << text;
    return (directory / name).string();
  };
  write("bottom.toml", "name = 'bottom'\nlist = [1, 2]\n[a]\nx = 1\ny = 2\n[a.deep]\nz = 3\n");
  write("middle.toml", "base = 'bottom.toml'\n[a]\ny = 20\n");
  const std::string top = write(
      "deeper/top.toml", "base = '../middle.toml'\nname = 'top'\nlist = [9]\n[a.deep]\nw = 4\n");
  const auto layered = read_layered_toml_file(top);
  ASSERT_TRUE(layered.ok()) << layered.error().message;
  EXPECT_EQ(*layered,
            toml("name = 'top'\nlist = [9]\n[a]\nx = 1\ny = 20\n[a.deep]\nz = 3\nw = 4\n"));

  const std::string circle = write("circle.toml", "base = 'circle.toml'\n");
  EXPECT_NE(read_layered_toml_file(circle).error().message.find("a circle"), std::string::npos);
  const std::string lost = write("lost.toml", "base = 'absent.toml'\n");
  EXPECT_NE(read_layered_toml_file(lost).error().message.find("absent.toml"), std::string::npos);
  const std::string wrong = write("wrong.toml", "base = 3\n");
  EXPECT_NE(read_layered_toml_file(wrong).error().message.find("'base'"), std::string::npos);
}

TEST(Document, LaysUpToEightFilesOverEachOther) {
  const test::TemporaryDirectory directory;
  directory.write("1.toml", "bottom = true\n");
  for (int i = 2; i <= 9; ++i) {
    directory.write(fmt::format("{}.toml", i), fmt::format("base = '{}.toml'\n", i - 1));
  }
  const auto eight = read_layered_toml_file(directory.path("8.toml"));
  ASSERT_TRUE(eight.ok()) << eight.error().message;
  EXPECT_EQ(*eight, toml("bottom = true"));
  EXPECT_FALSE(read_layered_toml_file(directory.path("9.toml")).ok());
}

TEST(Fields, ReadsEveryKind) {
  Settings settings;
  const Status status = read(toml(R"(
count = 7
rate = 2
on = true
name = "x"
points = [[0.0, 32], [1.0, 8]]
limit = 9000000000
shape = "square"
[nested]
inner = -4
)"),
                             settings);
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(settings.count, 7);
  EXPECT_EQ(settings.rate, 2.0);
  EXPECT_TRUE(settings.on);
  EXPECT_EQ(settings.name, "x");
  EXPECT_EQ(settings.points, (std::vector<std::vector<float>>{{0, 32}, {1, 8}}));
  EXPECT_EQ(settings.limit, 9000000000);
  EXPECT_EQ(settings.shape, Shape::square);
  EXPECT_EQ(settings.inner, -4);
}

TEST(Fields, AbsentKeysKeepDefaults) {
  Settings settings;
  ASSERT_TRUE(read(nlohmann::json::object(), settings).ok());
  EXPECT_EQ(settings.count, 3);
  EXPECT_FALSE(settings.limit.has_value());
}

TEST(Fields, ErrorsSayWhatWasExpectedAndFound) {
  EXPECT_EQ(error_of("count = 'seven'"),
            "'settings.count': expected an integer, found the string \"seven\"");
  EXPECT_EQ(
      error_of("count = '" + std::string(100, 'x') + "'"),
      "'settings.count': expected an integer, found the string \"" + std::string(59, 'x') + "...");
  EXPECT_EQ(error_of("count = 1.0"), "'settings.count': expected an integer, found 1.0");
  EXPECT_EQ(error_of("count = 101"),
            "'settings.count': expected a value between 1 and 100, found 101");
  EXPECT_EQ(error_of("count = 3000000000"),
            "'settings.count': expected an integer between -2147483648 and 2147483647, found "
            "3000000000");
  EXPECT_EQ(error_of("rate = nan"), "'settings.rate': expected a number, found nan");
  EXPECT_EQ(error_of("on = 1"), "'settings.on': expected true or false, found 1");
  EXPECT_EQ(error_of("points = [[1, 'a']]"),
            "'settings.points[0][1]': expected a number, found the string \"a\"");
  EXPECT_EQ(error_of("nested = 3"), "'settings.nested': expected a table, found 3");
  EXPECT_EQ(error_of("shape = 'sqare'"),
            "'settings.shape': expected one of round, square, found \"sqare\": did you mean "
            "\"square\"?");
}

TEST(Fields, WhatAFloatCannotHoldIsNoInfinity) {
  const nlohmann::json document = {{"rate", 1e39}};
  Fields fields(document, "");
  float rate = 1;
  fields.read("rate", rate);
  EXPECT_EQ(rate, 1);
  EXPECT_EQ(fields.finish().error().message,
            "'rate': expected a number of at most 3.4028235e+38, found 1e+39");
}

TEST(Fields, NamesTheNearestKey) {
  EXPECT_EQ(error_of("cuont = 3"), "unknown key 'settings.cuont': did you mean 'count'?");
  // A mistyped key is reported before the one that it leaves missing.
  EXPECT_EQ(error_of("[nested]\niner = 3"),
            "unknown key 'settings.nested.iner': did you mean 'inner'?");
  EXPECT_EQ(error_of("[nested]"), "missing key 'settings.nested.inner'");
}

TEST(Fields, NamesTheFirstMistake) {
  EXPECT_NE(error_of("count = 'x'\nrate = 'y'").find("'settings.count'"), std::string::npos);
  const nlohmann::json nothing = nlohmann::json::object();
  Fields fields(nothing);
  int32_t first = 0, second = 0;
  fields.require("first", first);
  fields.require("second", second);
  EXPECT_EQ(fields.finish().error().message, "missing key 'first'");
}

TEST(Fields, WhatASignedIntegerCannotHoldIsNotNegative) {
  const nlohmann::json document = {{"limit", std::numeric_limits<uint64_t>::max()}};
  Fields fields(document);
  int64_t limit = 1;
  fields.read("limit", limit);
  EXPECT_EQ(limit, 1);
  EXPECT_FALSE(fields.finish().ok());
}

TEST(Fields, NamesTheFile) {
  const nlohmann::json json = {{"a", 1}};
  Fields fields(json, "", "config.json");
  std::string a;
  fields.read("a", a);
  EXPECT_EQ(fields.finish().error().message, "config.json: 'a': expected a string, found 1");
}

TEST(SetValue, ParsesTomlValuesAndBareWords) {
  nlohmann::json document = toml("[a]\nb = 1\nkept = true");
  for (const char* assignment :
       {"a.b=2", "a.c.d=[1, 2]", "rate=1e-3", "name=tiny", "path=data/x y.txt", "quoted=\"1\"",
        "on=true", "equation=a=b", "two-words=2"}) {
    const Status status = set_value(document, assignment);
    EXPECT_TRUE(status.ok()) << status.error().message;
  }
  EXPECT_EQ(document, json_in(R"({
    "a": {"b": 2, "kept": true, "c": {"d": [1, 2]}}, "rate": 0.001, "name": "tiny",
    "path": "data/x y.txt", "quoted": "1", "on": true, "equation": "a=b", "two-words": 2})"));
}

TEST(SetValue, RefusesWhatIsMalformed) {
  for (const char* assignment :
       {"a", "=1", "a..b=1", ".a=1", "a.=1", "a=", "a=[1", "a='x", "a b=1", "number.below=1"}) {
    nlohmann::json document = {{"number", 1}};
    const nlohmann::json before = document;
    EXPECT_FALSE(set_value(document, assignment).ok()) << assignment;
    EXPECT_EQ(document, before) << assignment;
  }
}

TEST(NearestName, CountsEdits) {
  const std::vector<std::string> names = {"experts", "expert_ffn", "layers"};
  EXPECT_EQ(nearest_name("exprts", names), "experts");
  EXPECT_EQ(nearest_name("expertffn", names), "expert_ffn");
  EXPECT_EQ(nearest_name("layer", names), "layers");
  EXPECT_EQ(nearest_name("x", {}), "");
}

TEST(ParseJson, RefusesWhatNestsTooDeeply) {
  const auto nested = [](size_t levels) {
    return parse_json(std::string(levels, '[') + std::string(levels, ']'), "config.json");
  };
  EXPECT_TRUE(nested(64).ok());
  for (const size_t levels : {65, 100'000}) {
    const auto deep = nested(levels);
    ASSERT_FALSE(deep.ok());
    EXPECT_NE(deep.error().message.find("at most 64 deep"), std::string::npos);
  }
}

}  // namespace
}  // namespace unmask
