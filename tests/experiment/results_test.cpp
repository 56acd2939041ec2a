#include "unmask/experiment/results.h"

#include "tests/support/temporary_directory.h"
#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>

#include "unmask/experiment/figures.h"
#include "unmask/experiment/page.h"
#include "unmask/experiment/record.h"
#include "unmask/experiment/results_document.h"
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

TEST_F(ResultsTest, PassOverDirectoriesOfNoSeed) {
  std::filesystem::create_directories(directory_.path("a/seed-0"));
  std::filesystem::create_directories(directory_.path("a/seed-x"));
  EXPECT_EQ(Results::collect(spec_, directory_.path())->seeds(), (std::vector<int64_t>{1, 2}));
}

TEST_F(ResultsTest, ThePageSaysWhatRemains) {
  const Experiment& experiment = *find_experiment("capacity-schedules");
  finish("a", 1, 2.0, {3.0, 2.0});
  EXPECT_NE(render_experiment(experiment, *Results::collect(spec_, directory_.path()))
                .find("Not finished: 3 stages remain."),
            std::string::npos);
  for (const auto& [arm, seed] : {std::pair{"a", 2}, {"b", 1}, {"b", 2}}) {
    finish(arm, static_cast<uint64_t>(seed), 2.0, {3.0, 2.0});
  }
  EXPECT_EQ(render_experiment(experiment, *Results::collect(spec_, directory_.path()))
                .find("Not finished"),
            std::string::npos);
}

TEST_F(ResultsTest, DifferencesAreInTheUnitOfTheirColumn) {
  for (const uint64_t seed : {1, 2}) {
    finish("a", seed, 2.0, {3.0, 2.0});
    finish("b", seed, 2.25, {3.0, 2.25});
  }
  const auto results = Results::collect(spec_, directory_.path());
  const std::vector<std::string> arms = {"a", "b"};
  const ValueColumn columns[] = {{"loss, %", "train.loss", 100}};
  const Table table = difference_table(*results, arms, "a", "less a", columns);
  ASSERT_EQ(table.rows.size(), 1u);
  EXPECT_EQ(table.rows[0], (std::vector<std::string>{"arm b", "25 ± 0"}));
}

TEST_F(ResultsTest, OneSeedHasNoBand) {
  spec_.seeds = 1;
  finish("a", 1, 2.0, {3.0, 2.0});
  const auto results = Results::collect(spec_, directory_.path());
  const Curve curve = band_curve("a", results->band("a", "train.validation", "step", "loss"));
  EXPECT_EQ(curve.low, (std::vector<double>{3, 2}));
  EXPECT_EQ(curve.high, curve.low);
}

TEST_F(ResultsTest, OfFullRunsThoseAsFarAsTheKeptOnesAreAdopted) {
  spec_.name = "retrofit";
  const auto write = [&](const std::string& place, bool quick) {
    spec_.quick = quick;
    const auto results = Results::collect(spec_, directory_.path());
    std::filesystem::create_directories(directory_.path(place + "/retrofit"));
    directory_.write(place + "/retrofit/results.json", results->text());
  };
  const auto adopted = [&] {
    return *adopt_results(directory_.path("out"), directory_.path("kept"));
  };
  finish("a", 1, 2.0, {3.0, 2.0});
  write("kept", false);
  write("out", true);
  EXPECT_TRUE(adopted().empty()) << "the quick form says nothing";
  write("out", false);
  EXPECT_EQ(adopted(), (std::vector<std::string>{"retrofit"}));
  finish("a", 2, 2.0, {3.0, 2.0});
  write("kept", false);
  EXPECT_TRUE(adopted().empty()) << "more is done there";
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
