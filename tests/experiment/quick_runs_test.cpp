// The quick form of every experiment, through the program: whole, killed and resumed, and stopped
// by its budget.
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/experiment/experiment.h"
#include "unmask/experiment/runner.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class QuickRun : public testing::TestWithParam<std::string_view> {
 protected:
  std::string name() const { return std::string(GetParam()); }
  std::string out(const std::string& which) const { return directory_.path(which); }

  test::Outcome run(const std::string& which, const std::string& flags = "") const {
    return test::run_shell(fmt::format("cd {} && {} experiment run {} --quick --out {} {}",
                                       UNMASK_SOURCE_DIR, UNMASK_BINARY, name(), out(which),
                                       flags));
  }
  // Starts it in a process of its own.
  pid_t start(const std::string& which) const {
    const std::string directory = out(which), experiment = name();
    const pid_t child = fork();
    if (child == 0) {
      if (chdir(UNMASK_SOURCE_DIR) != 0) _exit(126);
      execl(UNMASK_BINARY, "unmask", "experiment", "run", experiment.c_str(), "--quick", "--out",
            directory.c_str(), nullptr);
      _exit(127);
    }
    return child;
  }
  json results(const std::string& which) const {
    const auto document = read_json_file(out(which) + "/" + name() + "/results.json");
    EXPECT_TRUE(document);
    return document ? *document : json();
  }
  // Without what depends on the speed of the machine, and on where the run is.
  json numbers(const std::string& which) const {
    json document = results(which);
    document.erase("core_seconds");
    for (json& arm : document["arms"]) {
      arm.erase("means");
      arm.erase("configurations");
      for (json& run : arm["runs"]) {
        for (json& stage : run["stages"]) {
          stage.erase("timed_values");
          stage.erase("timed_curves");
        }
      }
    }
    return document;
  }

  // What a run says before each of its first stages.
  std::string first_seed() const {
    const auto spec = read_experiment(UNMASK_SOURCE_DIR "/experiments", name(), true);
    return spec ? fmt::format("seed {}, ", spec->first_seed) : spec.error().message;
  }

  test::TemporaryDirectory directory_;
};

TEST_P(QuickRun, HasAllArmsAndGoesOnWhereItWasKilled) {
  const auto whole = run("whole");
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  const auto spec = read_experiment(UNMASK_SOURCE_DIR "/experiments", name(), true);
  ASSERT_TRUE(spec) << spec.error().message;
  const json document = results("whole");
  ASSERT_EQ(document["arms"].size(), spec->arms.size());
  EXPECT_TRUE(document["remaining"].empty()) << document["remaining"];
  for (size_t i = 0; i < spec->arms.size(); ++i) {
    const json& arm = document["arms"][i];
    EXPECT_EQ(arm["name"], spec->arms[i].name);
    ASSERT_EQ(arm["runs"].size(), static_cast<size_t>(spec->seeds));
    for (const json& run : arm["runs"]) {
      EXPECT_EQ(run["stages"].size(), spec->arms[i].stages.size()) << spec->arms[i].name;
    }
    EXPECT_FALSE(arm["means"].empty());
  }
  const auto page = read_file(out("whole") + "/" + name() + "/report.html");
  ASSERT_TRUE(page);
  EXPECT_NE(page->find("<svg"), std::string::npos);
  EXPECT_EQ(page->find("http://"), page->find("http://www.w3.org/2000/svg"));

  int kills = 0;
  for (const int milliseconds : {40, 90, 160, 250}) {
    const pid_t child = start("killed");
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    kills += WIFSIGNALED(status);
  }
  EXPECT_GT(kills, 0) << "it ended before it could be killed";
  // One seed after the other gives the numbers of seeds side by side.
  const auto resumed = run("killed", "--side-by-side 1");
  ASSERT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_EQ(numbers("killed"), numbers("whole"));

  // Once more does nothing again.
  const auto again = run("killed");
  EXPECT_EQ(again.output.find(first_seed()), std::string::npos) << again.output;
}

TEST_P(QuickRun, StopsWhenTheBudgetIsSpent) {
  const auto nothing = run("spent", "--budget 0");
  ASSERT_EQ(nothing.exit_code, 0) << nothing.output;
  EXPECT_NE(nothing.output.find("0 of "), std::string::npos) << nothing.output;
  EXPECT_NE(nothing.output.find(first_seed()), std::string::npos);
  EXPECT_FALSE(results("spent")["remaining"].empty());

  const auto little = run("spent", "--budget 0.0005 --seeds 1");
  ASSERT_EQ(little.exit_code, 0) << little.output;
  EXPECT_FALSE(results("spent")["remaining"].empty());
}

INSTANTIATE_TEST_SUITE_P(Every, QuickRun,
                         testing::Values("ec-vs-tc", "capacity-schedules", "learning-efficiency",
                                         "retrofit", "block-experts"),
                         [](const auto& info) {
                           std::string name(info.param);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

class Runner : public testing::Test {
 protected:
  Runner() {
    fs::create_directories(directory_.path("experiments/small"));
    directory_.write("text.txt", std::string(4000, 'x') + "some text at the end of it");
    directory_.write("experiments/small/experiment.toml",
                     "title = 'x'\nseeds = 1\n[[arms]]\nname = 'a'\nstages = [{ train = 'a.toml' "
                     "}]\n");
    set_steps("2");
  }
  void set_steps(const std::string& steps) const {
    directory_.write("experiments/small/a.toml",
                     "[data]\npaths = ['" + directory_.path("text.txt") +
                         "']\nsequence_length = 16\n[model]\nlayers = 1\nhidden = 16\nheads = 2\n"
                         "experts = 4\nexpert_ffn = 8\nshared_ffn = 8\n[routing]\n"
                         "experts_per_token = 2\n[training]\nbatch = 2\nsteps = " +
                         steps + "\n[evaluation]\nsequences = 2\nsample_length = 4\nlevels = []\n");
  }
  Result<RunProgress> run(const std::atomic<bool>& stop = false, int32_t seeds = 1) const {
    const auto spec = read_experiment(directory_.path("experiments"), "small", false);
    if (!spec) return spec.error();
    return run_experiment(*spec, {.out = directory_.path("out"), .seeds = seeds}, stop);
  }
  test::TemporaryDirectory directory_;
};

TEST_F(Runner, RefusesAFinishedStageOfAnotherConfiguration) {
  const auto first = run();
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->finished, 1);
  EXPECT_TRUE(run());
  set_steps("3");
  const auto changed = run();
  ASSERT_FALSE(changed);
  EXPECT_NE(changed.error().message.find("another configuration"), std::string::npos);
}

TEST_F(Runner, BeginsNoFurtherSeedWhereOneFailed) {
  ASSERT_TRUE(run());
  set_steps("3");
  EXPECT_FALSE(run(false, 4));
  // The second may have begun beside the first.
  for (const uint64_t seed : {3, 4}) {
    EXPECT_FALSE(fs::exists(stage_directory(directory_.path("out/small"), "a", seed, "train")));
  }
  ASSERT_TRUE(fs::exists(stage_directory(directory_.path("out/small"), "a", 1, "train")));
}

TEST_F(Runner, CountsWhatIsDoneAlsoWithoutTime) {
  ASSERT_TRUE(run());
  const auto stopped = run(true, 2);
  ASSERT_TRUE(stopped) << stopped.error().message;
  EXPECT_EQ(stopped->stages, 2);
  EXPECT_EQ(stopped->finished, 1);
  ASSERT_EQ(stopped->remaining.size(), 1u);
  EXPECT_NE(stopped->remaining[0].find("seed 2"), std::string::npos) << stopped->remaining[0];
}

TEST_F(Runner, RefusesDataOfAnotherConfiguration) {
  const auto set_count = [&](const std::string& count) {
    directory_.write("experiments/small/experiment.toml",
                     "title = 'x'\nseeds = 1\n[[data]]\ntask = 'sorting'\ncount = " + count + "\n");
  };
  set_count("3");
  const auto first = run();
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(run());
  set_count("4");
  const auto changed = run();
  ASSERT_FALSE(changed);
  EXPECT_NE(changed.error().message.find("was made of"), std::string::npos);
}

}  // namespace
}  // namespace unmask
