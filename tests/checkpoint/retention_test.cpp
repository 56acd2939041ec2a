#include "unmask/checkpoint/retention.h"

#include "tests/support/temporary_directory.h"
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/files.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

class RetentionTest : public testing::Test {
 protected:
  void add(const std::string& name) {
    fs::create_directories(run_ + "/checkpoints/" + name);
    ASSERT_TRUE(write_file_atomically(run_ + "/checkpoints/" + name + "/config.json", "{}").ok());
  }
  void add(int64_t step) { add(fs::path(checkpoint_path(run_, step)).filename().string()); }
  std::vector<int64_t> steps() {
    std::vector<int64_t> found;
    for (const CheckpointEntry& entry : list_checkpoints(run_)) found.push_back(entry.step);
    return found;
  }

  test::TemporaryDirectory directory_;
  std::string run_ = directory_.path("run");
};

using Steps = std::vector<int64_t>;

TEST_F(RetentionTest, ListsWholeCheckpointsByStep) {
  EXPECT_EQ(steps(), Steps{});
  EXPECT_FALSE(latest_checkpoint(run_).has_value());
  EXPECT_TRUE(checkpoint_path(run_, 100).ends_with("checkpoints/step-00000100"));
  add(300);
  add(100);
  add(123456789012);
  add("step-00000900.partial");
  add("step-");
  add("step-12x");
  add("notes");
  ASSERT_TRUE(write_file_atomically(run_ + "/checkpoints/step-00000999", "a file").ok());
  EXPECT_EQ(steps(), (Steps{100, 300, 123456789012}));
  EXPECT_EQ(latest_checkpoint(run_)->step, 123456789012);
  EXPECT_TRUE(fs::exists(latest_checkpoint(run_)->path + "/config.json"));
}

TEST_F(RetentionTest, KeepsTheNewestAndTheBest) {
  for (int64_t step = 100; step <= 500; step += 100) add(step);
  EXPECT_FALSE(best_checkpoint(run_).has_value());
  ASSERT_TRUE(mark_best_checkpoint(run_, 100).ok());
  ASSERT_TRUE(mark_best_checkpoint(run_, 200).ok());
  EXPECT_EQ(best_checkpoint(run_)->step, 200);
  EXPECT_TRUE(fs::exists(run_ + "/best/config.json"));
  EXPECT_EQ(steps(), (Steps{100, 200, 300, 400, 500}));

  ASSERT_TRUE(prune_checkpoints(run_, 2).ok());
  EXPECT_EQ(steps(), (Steps{200, 400, 500}));
  ASSERT_TRUE(prune_checkpoints(run_, 2).ok());
  EXPECT_EQ(steps(), (Steps{200, 400, 500}));
  ASSERT_TRUE(prune_checkpoints(run_, 0).ok());
  EXPECT_EQ(steps(), (Steps{200, 500}));
  ASSERT_TRUE(mark_best_checkpoint(run_, 500).ok());
  ASSERT_TRUE(prune_checkpoints(run_, 1).ok());
  EXPECT_EQ(steps(), (Steps{500}));
}

TEST_F(RetentionTest, ARunWithoutCheckpointsIsSaidToBeOne) {
  ASSERT_TRUE(write_file_atomically(run_ + "/config.json", "{}").ok());
  ASSERT_TRUE(write_file_atomically(run_ + "/metrics.jsonl", "{}").ok());
  const auto found = find_checkpoint(run_);
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message.find("a training run without a checkpoint yet"),
            std::string::npos);
}

TEST_F(RetentionTest, CleansWhatKilledRunsLeft) {
  add(100);
  add("step-00000100.partial");
  add("step-00000200.partial-4711");
  ASSERT_TRUE(prune_checkpoints(run_, 3).ok());
  EXPECT_EQ(steps(), Steps{100});
  EXPECT_FALSE(fs::exists(run_ + "/checkpoints/step-00000100.partial"));
  EXPECT_FALSE(fs::exists(run_ + "/checkpoints/step-00000200.partial-4711"));
}

// What copying makes of a link.
TEST_F(RetentionTest, ADirectoryMayBeTheBest) {
  for (const int64_t step : {100, 200}) add(step);
  ASSERT_TRUE(mark_best_checkpoint(run_, 100).ok());
  EXPECT_TRUE(check_best(run_).ok());
  fs::remove(run_ + "/best");
  EXPECT_TRUE(check_best(run_).ok());
  fs::copy(checkpoint_path(run_, 100), run_ + "/best");
  EXPECT_EQ(*find_checkpoint(run_), run_ + "/best");
  const Status resumed = check_best(run_);
  ASSERT_FALSE(resumed.ok());
  EXPECT_NE(resumed.error().message.find("expected a symbolic link"), std::string::npos);
}

TEST_F(RetentionTest, IgnoresABestThatIsGone) {
  add(100);
  ASSERT_TRUE(mark_best_checkpoint(run_, 100).ok());
  fs::remove_all(checkpoint_path(run_, 100));
  EXPECT_FALSE(best_checkpoint(run_).has_value());
  EXPECT_TRUE(prune_checkpoints(directory_.path("nowhere"), 1).ok());
}

}  // namespace
}  // namespace unmask
