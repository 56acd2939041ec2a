#include "unmask/experiment/stage.h"

#include <gtest/gtest.h>

namespace unmask {
namespace {

TEST(TaskStage, TheQuickFormAsksNoMoreThanTheFullOne) {
  const StageSpec spec = {
      .name = "task", .kind = "task", .keys = {{"what", "sorting"}, {"count", 5}}};
  ExperimentSpec experiment;
  for (const auto& [quick, asked] : {std::pair{0, 5}, {2, 2}, {70, 5}}) {
    experiment.quick_count = quick;
    const StagePlace place = {
        .experiment = experiment, .directory = "d", .data = "data", .model = "model", .seed = 1};
    const auto stage = make_stage(spec, place);
    ASSERT_TRUE(stage) << stage.error().message;
    EXPECT_EQ((*stage)->description()["count"], asked);
  }
}

}  // namespace
}  // namespace unmask
