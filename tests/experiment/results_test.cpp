#include "unmask/experiment/results.h"

#include "tests/support/temporary_directory.h"
#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>

#include "unmask/experiment/record.h"
#include "unmask/experiment/runner.h"

namespace unmask {
namespace {

class ResultsTest : public testing::Test {
 protected:
  ResultsTest() {
    spec_.name = "test";
    spec_.title = "A test";
    spec_.seeds = 2;
    StageSpec train;
    train.name = train.kind = "train";
    spec_.arms = {{.name = "a", .label = "arm a", .stages = {train}},
                  {.name = "b", .label = "arm b", .stages = {train}}};
  }
  void finish(const std::string& arm, uint64_t seed, double loss, std::vector<double> curve) {
    StageRecord record;
    record.description = {{"training", {{"seed", seed}, {"steps", 3}}}};
    record.core_seconds = 2;
    record.measured.values["loss"] = loss;
    record.measured.curves["validation"] = {{"step", {10, 20}}, {"loss", curve}};
    record.measured.timed_values["seconds"] = 1.5;
    ASSERT_TRUE(write_stage_record(stage_directory(directory_.path(), arm, seed, "train"), record));
  }

  test::TemporaryDirectory directory_;
  ExperimentSpec spec_;
};

TEST_F(ResultsTest, SeedsThatAreNotDoneRemain) {
  spec_.first_seed = 5;
  finish("a", 5, 2.0, {3.0, 2.0});
  const auto results = Results::collect(spec_, directory_.path());
  ASSERT_TRUE(results) << results.error().message;
  EXPECT_EQ(results->seeds(), (std::vector<int64_t>{5, 6}));
  EXPECT_EQ(results->document()["remaining"].size(), 3u);
}

TEST_F(ResultsTest, PutSeedsSideBySide) {
  finish("a", 1, 2.0, {3.0, 2.0});
  finish("a", 2, 4.0, {5.0, 4.0});
  finish("b", 1, 1.23456789, {2.0, 1.0});
  const auto results = Results::collect(spec_, directory_.path());
  ASSERT_TRUE(results) << results.error().message;
  EXPECT_EQ(results->seeds(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(results->values("a", "train.loss"), (std::vector<double>{2, 4}));
  EXPECT_EQ(results->interval("a", "train.loss").mean, 3);
  EXPECT_EQ(results->values("a", "train.seconds")[0], 1.5);
  EXPECT_EQ(results->values("b", "train.loss")[0], 1.23457) << "six digits";
  EXPECT_TRUE(std::isnan(results->values("b", "train.loss")[1]));
  EXPECT_EQ(results->column("a", "train.validation.loss", 1), (std::vector<double>{5, 4}));
  const Band band = results->band("a", "train.validation", "step", "loss");
  EXPECT_EQ(band.x, (std::vector<double>{10, 20}));
  EXPECT_EQ(band.y[1].mean, 3);
  EXPECT_FALSE(results->complete());
  EXPECT_EQ(results->document()["remaining"][0], "seed 2, b: train");
  EXPECT_EQ(results->document()["core_seconds"], 6);
  EXPECT_FALSE(
      results->document()["arms"][0]["configurations"]["train"]["training"].contains("seed"));
}

TEST_F(ResultsTest, SayNothingAboutWhatIsNotThere) {
  const auto results = Results::collect(spec_, directory_.path());
  ASSERT_TRUE(results);
  EXPECT_TRUE(std::isnan(results->interval("a", "train.loss").mean));
  EXPECT_TRUE(std::isnan(results->interval("c", "train.loss").mean));
  EXPECT_TRUE(results->column("a", "train.validation.loss", 0).empty());
  EXPECT_TRUE(results->band("a", "train.validation", "step", "loss").x.empty());
}

TEST_F(ResultsTest, ReadBackTheSame) {
  finish("a", 1, 1.0 / 3, {3.0, 2.0});
  const auto results = Results::collect(spec_, directory_.path());
  ASSERT_TRUE(results);
  const std::string path = directory_.write("results.json", results->text());
  const auto again = Results::read(path);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->text(), results->text());
}

TEST_F(ResultsTest, RefuseOtherFiles) {
  const auto results = Results::read(directory_.write("other.json", "{\"experiment\": \"x\"}"));
  ASSERT_FALSE(results);
  EXPECT_NE(results.error().message.find("title"), std::string::npos);
}

}  // namespace
}  // namespace unmask
