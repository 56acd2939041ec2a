#include "unmask/checkpoint/training_state.h"

#include "tests/checkpoint/differing_fields.h"
#include "tests/support/temporary_directory.h"
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/resource.h>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/document.h"
#include "unmask/base/files.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using test::TemporaryDirectory;

ModelConfig small_trained() {
  ModelConfig config;
  config.vocab_size = 50;
  config.layers = 2;
  config.hidden = 20;
  config.experts = 4;
  config.expert_ffn = 7;
  config.routing.experts_per_token = 2;
  config.mask_token = 49;
  return config;
}

// A state with memory of its own for what it borrows.
struct OwnedState {
  explicit OwnedState(const ParameterLayout& layout, uint64_t seed = 0)
      : parameters(layout), first(layout), second(layout) {
    state.parameters = &parameters;
    state.first_moment = &first;
    state.second_moment = &second;
    if (seed == 0) return;
    initialize(parameters, seed);
    initialize(first, seed + 1);
    initialize(second, seed + 2);
    state.step = 1234;
    state.tokens = int64_t{1} << 53 | 1;
    state.data_cursor = 0xfedcba9876543210;
    state.seed = seed;
    state.seconds = 0.1 + 0.2;
    state.best_loss = 3.0000000000000004;
    state.best_step = 1000;
  }
  Parameters parameters, first, second;
  TrainingState state;
};

class TrainingStateTest : public testing::Test {
 protected:
  Status save(const TrainingState& state) { return save_checkpoint(path_, config_, state); }
  void expect_refused(const std::vector<std::string>& words) {
    OwnedState loaded(layout_);
    const Status status = load_checkpoint(path_, config_, loaded.state);
    ASSERT_FALSE(status.ok()) << words[0];
    for (const std::string& word : words) {
      EXPECT_NE(status.error().message.find(word), std::string::npos)
          << word << " not in: " << status.error().message;
    }
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.path("run/checkpoint");
  ModelConfig config_ = small_trained();
  ParameterLayout layout_{config_};
};

TEST_F(TrainingStateTest, LoadsToTheBitWhatItSaved) {
  const OwnedState saved(layout_, 7);
  ASSERT_TRUE(save(saved.state).ok());
  const auto config = load_model_config(path_);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(*config, config_);
  OwnedState loaded(layout_);
  const Status status = load_checkpoint(path_, config_, loaded.state);
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(differing_fields(saved.state, loaded.state), std::vector<std::string>{});
  EXPECT_EQ(loaded.state.data_cursor, 0xfedcba9876543210);
  EXPECT_EQ(loaded.state.best_loss, 3.0000000000000004);

  const OwnedState fresh(layout_);
  ASSERT_TRUE(save(fresh.state).ok());
  ASSERT_TRUE(load_checkpoint(path_, config_, loaded.state).ok());
  EXPECT_FALSE(loaded.state.best_loss.has_value());
  EXPECT_EQ(differing_fields(fresh.state, loaded.state), std::vector<std::string>{});
}

TEST_F(TrainingStateTest, ComparesEveryField) {
  const OwnedState a(layout_, 7);
  const auto difference = [&](auto change) {
    OwnedState b(layout_, 7);
    change(b);
    return differing_fields(a.state, b.state);
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(difference([](OwnedState&) {}), Names{});
  EXPECT_EQ(difference([](OwnedState& b) { b.state.seconds += 1e-9; }), Names{"seconds"});
  EXPECT_EQ(difference([](OwnedState& b) { b.state.best_loss.reset(); }), Names{"best_loss"});
  EXPECT_EQ(difference([&](OwnedState& b) { b.second[layout_.layers[1].router](2, 3) += 1; }),
            Names{"second_moment.layers.1.router"});
  EXPECT_EQ(difference([&](OwnedState& b) { b.parameters[layout_.head](0, 0) += 1; }),
            Names{"parameters.head"});
}

TEST_F(TrainingStateTest, NamesWhatIsWrong) {
  const OwnedState saved(layout_, 7);
  ASSERT_TRUE(save(saved.state).ok());
  const auto edit = [&](const std::string& from, const std::string& to) {
    auto text = read_file(path_ + "/training_state/state.json");
    ASSERT_TRUE(text.ok());
    const size_t at = text->find(from);
    ASSERT_NE(at, std::string::npos) << *text;
    text->replace(at, from.size(), to);
    ASSERT_TRUE(write_file_atomically(path_ + "/training_state/state.json", *text).ok());
  };
  edit("\"step\"", "\"stop\"");
  expect_refused({"state.json", "stop", "step"});
  edit("\"stop\"", "\"step\"");
  edit("\"format\": 1", "\"format\": 2");
  expect_refused({"format", "newer"});
  edit("\"format\": 2", "\"format\": 1");

  const std::string tensors = path_ + "/training_state/state.safetensors";
  fs::resize_file(tensors, fs::file_size(tensors) - 4);
  expect_refused({"state.safetensors", "truncated"});
  fs::remove_all(path_ + "/training_state");
  expect_refused({path_, "training_state/state.json"});
}

TEST_F(TrainingStateTest, LoadsOlderOnes) {
  const OwnedState saved(layout_, 7);
  ASSERT_TRUE(save(saved.state).ok());
  const std::string numbers = path_ + "/training_state/state.json";
  nlohmann::json document = read_json_file(numbers).value();
  document["statistics"] = nlohmann::json::object();
  document.erase("measured_step");
  ASSERT_TRUE(write_file_atomically(numbers, document.dump()).ok());
  OwnedState loaded(layout_);
  const Status status = load_checkpoint(path_, config_, loaded.state);
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(differing_fields(saved.state, loaded.state), std::vector<std::string>{});
}

TEST_F(TrainingStateTest, RefusesTheStateOfAnotherModel) {
  const OwnedState saved(layout_, 7);
  ASSERT_TRUE(save(saved.state).ok());
  config_.experts = 8;
  layout_ = ParameterLayout(config_);
  expect_refused({"first_moment.layers.0.router", "expected shape [8, 20], found [4, 20]"});
}

TEST_F(TrainingStateTest, FullDiskLeavesTheOldCheckpoint) {
  const OwnedState old(layout_, 7);
  ASSERT_TRUE(save(old.state).ok());
  const OwnedState next(layout_, 8);

  // Writes beyond a file size fail as on a full disk; at every size another file is the first.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const auto weights = static_cast<rlim_t>(fs::file_size(path_ + "/model.safetensors"));
  for (const rlim_t limit : {rlim_t{10}, rlim_t{100}, rlim_t{700}, weights - 1, weights}) {
    const rlimit full{limit, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
    const Status status = save(next.state);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    ASSERT_FALSE(status.ok()) << limit;
    EXPECT_NE(status.error().message.find(".partial"), std::string::npos) << status.error().message;
    EXPECT_EQ(std::distance(fs::directory_iterator(fs::path(path_).parent_path()), {}), 1) << limit;
    OwnedState loaded(layout_);
    ASSERT_TRUE(load_checkpoint(path_, config_, loaded.state).ok()) << limit;
    EXPECT_EQ(differing_fields(old.state, loaded.state), std::vector<std::string>{}) << limit;
  }
  std::signal(SIGXFSZ, old_handler);
  ASSERT_TRUE(save(next.state).ok());
  OwnedState loaded(layout_);
  ASSERT_TRUE(load_checkpoint(path_, config_, loaded.state).ok());
  EXPECT_EQ(differing_fields(next.state, loaded.state), std::vector<std::string>{});
}

TEST_F(TrainingStateTest, TakesMoreFilesAlong) {
  const OwnedState saved(layout_, 7);
  const Status added = save_checkpoint(path_, config_, saved.state, [](const std::string& staged) {
    return write_file_atomically(staged + "/tokenizer.json", "{}");
  });
  ASSERT_TRUE(added.ok());
  EXPECT_TRUE(fs::exists(path_ + "/tokenizer.json"));
  const Status failed =
      save_checkpoint(path_, config_, saved.state,
                      [](const std::string&) -> Status { return failure("no tokenizer"); });
  ASSERT_FALSE(failed.ok());
  EXPECT_TRUE(fs::exists(path_ + "/tokenizer.json"));
  EXPECT_EQ(std::distance(fs::directory_iterator(fs::path(path_).parent_path()), {}), 1);
}

}  // namespace
}  // namespace unmask
