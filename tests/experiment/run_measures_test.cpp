#include "unmask/experiment/run_measures.h"

#include <cmath>

#include <gtest/gtest.h>

namespace unmask {
namespace {

LayerRouting layer(int64_t number, std::vector<int64_t> load) {
  LayerRouting routing;
  routing.layer = number;
  routing.tokens_per_expert = std::move(load);
  routing.dropped_share = 0.25;
  routing.unique_experts_per_block = kNotMeasured;
  return routing;
}

TEST(MergeBins, WeighsFineBinsByWhatTheyAreMadeOf) {
  ValidationEvent event;
  event.bin_loss = {1, 4, kNotMeasured, kNotMeasured, 5, 6, 7, 9};
  event.bin_count = {3, 1, 0, 0, 1, 1, 2, 2};
  const auto bins = merge_bins(event, kMaskBins);
  EXPECT_DOUBLE_EQ(bins[0], 1.75);
  EXPECT_TRUE(std::isnan(bins[1]));
  EXPECT_DOUBLE_EQ(bins[2], 5.5);
  EXPECT_DOUBLE_EQ(bins[3], 8);
  event.bin_loss = {2, kNotMeasured};
  event.bin_count = {3, 0};
  EXPECT_DOUBLE_EQ(merge_bins(event, 1)[0], 2);
}

TEST(MeasureRun, AveragesLoadsOverBatchesBeforeItJudgesThem) {
  RunLog run;
  // Each batch overloads another expert; together they are balanced, in the second layer not.
  RoutingEvent event;
  event.step = 1;
  event.layers = {layer(0, {8, 0}), layer(1, {6, 2})};
  run.routing.push_back(event);
  event.step = 2;
  event.layers = {layer(0, {0, 8}), layer(1, {6, 2})};
  run.routing.push_back(event);
  const Measured measured = measure_run(run);
  EXPECT_DOUBLE_EQ(measured.values["load_max_over_mean"], (1 + 1.5) / 2);
  // Times add up: 1 and 1.5 of the balanced one.
  EXPECT_DOUBLE_EQ(measured.values["throughput_8"], 2 / (4 * (1 + 1.5)));
  EXPECT_DOUBLE_EQ(measured.values["dropped_share"], 0.25);
  EXPECT_DOUBLE_EQ(measured.values["load_variation"], (0 + 0.5) / 2);
  EXPECT_FALSE(measured.values.contains("unique_experts_per_block")) << "not measured";
}

TEST(MeasureRun, ValuesAreThoseOfTheLastEvaluation) {
  RunLog run;
  run.validation.resize(2);
  run.validation[0].loss = 3;
  run.validation[1].loss = 2;
  EXPECT_EQ(measure_run(run).values["loss"], 2);
}

TEST(MeasureRun, KeepsTimesApart) {
  RunLog run;
  ValidationEvent event;
  event.step = 10;
  event.tokens = 100;
  event.seconds = 3;
  event.loss = 2;
  event.bin_loss = {2, 2, 2, 2};
  event.bin_count = {1, 1, 1, 1};
  run.validation = {event};
  const Measured measured = measure_run(run);
  EXPECT_EQ(measured.values["loss"], 2);
  EXPECT_EQ(measured.curves["validation"]["step"][0], 10);
  EXPECT_FALSE(measured.curves["validation"].contains("seconds"));
  EXPECT_EQ(measured.timed_curves["validation"]["seconds"][0], 3);
  EXPECT_FALSE(measured.values.contains("tokens_per_second"));
}

}  // namespace
}  // namespace unmask
