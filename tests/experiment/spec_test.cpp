#include "unmask/experiment/spec.h"

#include "tests/support/temporary_directory.h"
#include <filesystem>

#include <gtest/gtest.h>

namespace unmask {
namespace {

class SpecTest : public testing::Test {
 protected:
  SpecTest() { std::filesystem::create_directories(directory_.path("test")); }
  Result<ExperimentSpec> read(const std::string& text, bool quick = false) {
    directory_.write("test/experiment.toml", text);
    return read_experiment(directory_.path(), "test", quick);
  }
  std::string error_of(const std::string& text) {
    const auto spec = read(text);
    return spec ? "" : spec.error().message;
  }
  test::TemporaryDirectory directory_;
};

constexpr const char* kText = R"(
title = "A test"
needs = ["corpora/kjv.txt"]
first_seed = 3
seeds = 4
[[data]]
task = "sorting"
set = { count = 3 }
count = 10
[[arms]]
name = "base"
stages = [{ train = "base.toml", set = ["a.b=1"] }, { task = "sorting", count = 5 }]
[[arms]]
each = ["x", "y"]
name = "after-{each}"
label = "after {each}"
stages = [{ retrofit = { policy = "{each}" }, from = "base/train" }]
[quick]
seeds = 1
data = "sorting"
count = 2
examples = 7
set = ["training.steps=2"]
)";

TEST_F(SpecTest, ReadsArmsStagesAndData) {
  const auto spec = read(kText);
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->first_seed, 3);
  EXPECT_EQ(spec->seeds, 4);
  EXPECT_EQ(spec->data[0].settings["count"], 3);
  ASSERT_EQ(spec->arms.size(), 3u);
  EXPECT_EQ(spec->arms[0].label, "base");
  EXPECT_EQ(spec->arms[0].stages[0].kind, "train");
  EXPECT_EQ(spec->arms[0].stages[0].keys["what"], "base.toml");
  EXPECT_EQ(spec->arms[2].name, "after-y");
  EXPECT_EQ(spec->arms[2].label, "after y");
  EXPECT_EQ(spec->arms[2].stages[0].keys["what"]["policy"], "y");
  EXPECT_EQ(spec->arms[2].stages[0].from, "base/train");
  EXPECT_TRUE(spec->settings.empty()) << "what is quick stays out of the full form";
  EXPECT_EQ(spec->needs.size(), 1u);
}

TEST_F(SpecTest, LaysWhatATaskHasUnderItsStagesAndData) {
  const auto spec = read(R"(
title = "A test"
[task.sorting]
set = { count = 3 }
count = 10
sampler = "threshold"
[[data]]
task = "sorting"
count = 7
[[arms]]
name = "a"
stages = [
  { train = "a.toml" },
  { task = "sorting", count = 5 },
  { task = "sorting", name = "other", set = { count = 4 } },
  { task = "addition", name = "sum" },
]
)");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->data[0].settings["count"], 3);
  EXPECT_EQ(spec->data[0].count, 7);
  const auto& stages = spec->arms[0].stages;
  EXPECT_FALSE(stages[0].keys.contains("set"));
  EXPECT_EQ(stages[1].keys["set"]["count"], 3);
  EXPECT_EQ(stages[1].keys["count"], 5);
  EXPECT_EQ(stages[1].keys["sampler"], "threshold");
  EXPECT_EQ(stages[2].keys["set"]["count"], 4);
  EXPECT_EQ(stages[2].keys["count"], 10);
  EXPECT_FALSE(stages[3].keys.contains("count"));
}

TEST_F(SpecTest, TheQuickFormIsSmallerAndNeedsNoCorpus) {
  const auto spec = read(kText, true);
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->seeds, 1);
  EXPECT_EQ(spec->quick_count, 2);
  EXPECT_EQ(spec->data[0].count, 7);
  EXPECT_EQ(spec->settings, (std::vector<std::string>{"training.steps=2"}));
  EXPECT_TRUE(spec->needs.empty());
  std::string few = kText;
  few.replace(few.find("examples = 7"), 12, "examples = 70");
  EXPECT_EQ(read(few, true)->data[0].count, 10) << "no more than the full form has";
}

TEST_F(SpecTest, WordsOfAnArmAreStrings) {
  const std::string arm = "title = 'x'\n[[arms]]\nname = '{each}'\nstages = []\n";
  EXPECT_NE(error_of(arm + "each = [0.3, 0.6]").find("'arms[0].each[0]': expected a string"),
            std::string::npos);
  EXPECT_NE(error_of(arm + "each = 5").find("'arms[0].each': expected an array"),
            std::string::npos);
  const auto spec = read(arm + R"(each = ['a"b', 'c\d', '{each}'])");
  ASSERT_TRUE(spec) << spec.error().message;
  ASSERT_EQ(spec->arms.size(), 3u);
  EXPECT_EQ(spec->arms[0].name, "a\"b");
  EXPECT_EQ(spec->arms[1].label, "c\\d");
  EXPECT_EQ(spec->arms[2].name, "{each}");
}

TEST_F(SpecTest, SaysWhatIsWrong) {
  const std::string arm = "title = 'x'\n[[arms]]\nname = 'a'\n";
  EXPECT_NE(error_of("title = 'x'\ntitel = 'y'").find("titel"), std::string::npos);
  EXPECT_NE(error_of(arm + "stages = [{ trian = 'x.toml' }]").find("train"), std::string::npos);
  EXPECT_NE(error_of(arm + "stages = [{ train = 'x', task = 'y' }]").find("one thing"),
            std::string::npos);
  EXPECT_NE(error_of(arm + "stages = [{ train = 'x', count = 5 }]").find("count"),
            std::string::npos);
  EXPECT_NE(error_of(arm + "stages = [{ train = 'x' }, { train = 'y' }]").find("twice"),
            std::string::npos);
  EXPECT_NE(error_of(arm + "stages = [{ train = 'x', from = 'b' }]").find("earlier"),
            std::string::npos);
  EXPECT_NE(error_of(arm + "stages = []\n[[arms]]\nname = 'a'\n").find("twice"), std::string::npos);
  EXPECT_NE(error_of(arm + "stages = 5").find("array"), std::string::npos);
  EXPECT_NE(error_of("title = 'x'\n[task.sortign]\ncount = 1").find("sortign"), std::string::npos);
  EXPECT_NE(error_of("title = 'x'\n[task.sorting]\ncuont = 1").find("cuont"), std::string::npos);
  EXPECT_NE(read_experiment(directory_.path(), "tset", false).error().message.find("test"),
            std::string::npos);
}

}  // namespace
}  // namespace unmask
