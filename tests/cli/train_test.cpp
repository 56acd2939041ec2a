// The program from outside: a run that is killed and resumed, interrupts, and bad input.
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <sys/wait.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/retention.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using test::run_shell;
using test::run_unmask;
using test::slurp;
using test::wait_for;

class TrainCommand : public testing::Test {
 protected:
  TrainCommand() {
    std::string text;
    for (int i = 0; i < 4000; ++i) text += "line " + std::to_string(i * 7919 % 1000) + " of text\n";
    data_ = directory_.write("text.txt", text);
    config_ = directory_.write("config.toml", "name = 'test'\n[data]\npaths = ['" + data_ + R"(']
sequence_length = 64
[model]
layers = 2
hidden = 64
heads = 2
experts = 8
expert_ffn = 32
shared_ffn = 64
[routing]
policy = "expert-choice"
experts_per_token = 2
[training]
steps = 20
batch = 8
[optimizer]
warmup = 4
[evaluation]
sequences = 8
sample_length = 16
[checkpoint]
every = 10
keep = 5
)");
  }
  std::string run_directory(const std::string& name) const { return directory_.path(name); }
  std::string train(const std::string& run) const {
    return "train --quiet --config " + config_ + " --run " + run_directory(run) + " ";
  }
  // Starts training in a process of its own.
  pid_t start(const std::string& run) const {
    return test::start_unmask({"train", "--config", config_, "--run", run_directory(run)});
  }
  void expect_same_result(const std::string& a, const std::string& b) const {
    for (const char* file : {"model.safetensors", "training_state/state.safetensors"}) {
      const std::string bytes = slurp(checkpoint_path(run_directory(a), 20) + "/" + file);
      EXPECT_FALSE(bytes.empty());
      EXPECT_EQ(bytes, slurp(checkpoint_path(run_directory(b), 20) + "/" + file)) << file;
    }
  }

  test::TemporaryDirectory directory_;
  std::string data_, config_;
};

TEST_F(TrainCommand, ResumesAKilledRunBitIdentically) {
  ASSERT_EQ(run_unmask(train("straight")).exit_code, 0);

  const pid_t child = start("killed");
  ASSERT_TRUE(wait_for([&] { return fs::exists(checkpoint_path(run_directory("killed"), 10)); }));
  ASSERT_TRUE(test::kill_running(child)) << "the run ended before it could be killed";
  ASSERT_EQ(latest_checkpoint(run_directory("killed"))->step, 10);

  const auto resumed = run_unmask(train("killed") + "--resume");
  ASSERT_EQ(resumed.exit_code, 0) << resumed.output;
  expect_same_result("straight", "killed");
}

TEST_F(TrainCommand, BeginsAgainWhenKilledBeforeTheFirstCheckpoint) {
  ASSERT_EQ(run_unmask(train("straight")).exit_code, 0);
  // What a run has then: its record, and a beginning of its metrics.
  ASSERT_EQ(run_unmask(train("killed")).exit_code, 0);
  fs::remove_all(run_directory("killed") + "/checkpoints");
  fs::remove(run_directory("killed") + "/best");
  ASSERT_EQ(run_unmask(train("killed") + "--resume").exit_code, 0);
  expect_same_result("straight", "killed");
  const auto count = [&](const std::string& run, const std::string& word) {
    const std::string text = slurp(run_directory(run) + "/metrics.jsonl");
    size_t found = 0;
    for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("killed", "\"kind\":\"train\""), count("straight", "\"kind\":\"train\""));
}

TEST_F(TrainCommand, SavesAndLeavesOnTheFirstInterrupt) {
  ASSERT_EQ(run_unmask(train("straight")).exit_code, 0);
  const pid_t child = start("interrupted");
  ASSERT_TRUE(wait_for([&] {
    return slurp(run_directory("interrupted") + "/metrics.jsonl").find("config") !=
           std::string::npos;
  }));
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ASSERT_TRUE(latest_checkpoint(run_directory("interrupted")));
  if (latest_checkpoint(run_directory("interrupted"))->step < 20) {
    ASSERT_EQ(run_unmask(train("interrupted") + "--resume").exit_code, 0);
  }
  expect_same_result("straight", "interrupted");
}

TEST_F(TrainCommand, LeavesAnEvaluationAtTheEndAndMakesItWhenResumed) {
  const pid_t child =
      test::start_unmask({"train", "--quiet", "--config", config_, "--run", run_directory("long"),
                          "--set", "evaluation.draws=100000"});
  ASSERT_TRUE(wait_for([&] { return fs::exists(checkpoint_path(run_directory("long"), 20)); }));
  ASSERT_EQ(kill(child, SIGINT), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  const auto metrics = [&] { return slurp(run_directory("long") + "/metrics.jsonl"); };
  EXPECT_EQ(metrics().find("\"kind\":\"validation\""), std::string::npos);
  EXPECT_NE(metrics().find("interrupted"), std::string::npos);

  const auto resumed = run_unmask(train("long") + "--resume --set evaluation.draws=1");
  EXPECT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_NE(metrics().find("\"kind\":\"validation\""), std::string::npos);
  EXPECT_NE(metrics().find("finished"), std::string::npos);
  EXPECT_EQ(best_checkpoint(run_directory("long"))->step, 20);
  ASSERT_EQ(run_unmask(train("straight")).exit_code, 0);
  expect_same_result("straight", "long");
}

TEST_F(TrainCommand, MakesNothingTwiceWhenResumed) {
  const auto count = [&](const std::string& file, const std::string& word) {
    const std::string text = slurp(run_directory("run") + "/" + file);
    size_t found = 0;
    for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) ++found;
    return found;
  };
  const std::string state =
      checkpoint_path(run_directory("run"), 20) + "/training_state/state.json";
  const auto edit = [&](const std::function<void(nlohmann::json&)>& change) {
    auto document = json_in(slurp(state));
    change(document);
    ASSERT_TRUE(write_file_atomically(state, to_text(document)).ok());
  };
  for (const std::string held_out : {"0.02", "0"}) {
    const std::string flags = " --set data.validation_fraction=" + held_out +
                              " --set evaluation.every=10 --set evaluation.sample_every=10";
    fs::remove_all(run_directory("run"));
    ASSERT_EQ(run_unmask(train("run") + flags).exit_code, 0);
    const size_t validations = held_out == "0" ? 0 : 2;
    // As it was saved; as an older program saved it.
    for (const bool older : {false, true}) {
      if (older) {
        edit([](nlohmann::json& s) {
          for (const char* key : {"measured_step", "sampled_step", "data_fingerprint"})
            s.erase(key);
        });
      }
      ASSERT_EQ(run_unmask(train("run") + "--resume" + flags).exit_code, 0);
      EXPECT_EQ(count("metrics.jsonl", "\"kind\":\"validation\""), validations);
      EXPECT_EQ(count("samples.jsonl", "\"step\":"), 2u);
    }
    // Killed before that was saved.
    edit([](nlohmann::json& s) { s["measured_step"] = s["sampled_step"] = 10; });
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(run_unmask(train("run") + "--resume" + flags).exit_code, 0);
      EXPECT_EQ(count("metrics.jsonl", "\"kind\":\"validation\""), validations);
      EXPECT_EQ(count("samples.jsonl", "\"step\":"), 2u);
    }
  }
}

TEST_F(TrainCommand, MarksTheBestWhenKilledBeforeThat) {
  // The last step is the best of this run; a kill may leave `best` at an earlier one.
  ASSERT_EQ(run_unmask(train("run") + "--set evaluation.every=10").exit_code, 0);
  const std::string run = run_directory("run");
  ASSERT_EQ(best_checkpoint(run)->step, 20);
  ASSERT_TRUE(mark_best_checkpoint(run, 10).ok());
  ASSERT_EQ(run_unmask(train("run") + "--set evaluation.every=10 --resume").exit_code, 0);
  EXPECT_EQ(best_checkpoint(run)->step, 20);
}

TEST_F(TrainCommand, SavesTheBestOnTheWay) {
  ASSERT_EQ(
      run_unmask(train("run") + "--set evaluation.every=10 --set checkpoint.every=0").exit_code, 0);
  EXPECT_TRUE(fs::exists(checkpoint_path(run_directory("run"), 10)));
}

TEST_F(TrainCommand, OfEqualLossesTheFirstStaysTheBest) {
  ASSERT_EQ(run_unmask(train("run") + "--set training.steps=4 --set evaluation.every=2 "
                                      "--set optimizer.learning_rate=0")
                .exit_code,
            0);
  EXPECT_EQ(best_checkpoint(run_directory("run"))->step, 2);
}

TEST_F(TrainCommand, APartOfAnEpochIsAStepAtLeast) {
  std::string text = slurp(config_);
  text.replace(text.find("steps = 20"), 10, "epochs = 1e-6");
  directory_.write("config.toml", text);
  const auto run = run_unmask(train("run"));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(latest_checkpoint(run_directory("run"))->step, 1);
}

TEST_F(TrainCommand, SamplesFitThePositions) {
  const auto run = run_unmask(train("run") +
                              "--set training.steps=1 --set model.max_positions=64 "
                              "--set evaluation.sample_length=65");
  EXPECT_EQ(run.exit_code, 0) << run.output;
}

TEST_F(TrainCommand, CountsNoPaddingAsTokens) {
  std::string lines;
  for (int i = 0; i < 200; ++i) {
    lines += R"({"messages":[{"role":"user","content":")" + std::to_string(i) +
             R"(+1="},{"role":"assistant","content":")" + std::to_string(i + 1) + "\"}]}\n";
  }
  const std::string data = directory_.write("conversations.jsonl", lines);
  const auto tokens = [&](int length) {
    const std::string run = "length" + std::to_string(length);
    const auto done = run_unmask(train(run) + "--set data.paths='[\"" + data +
                                 "\"]' --set data.sequence_length=" + std::to_string(length) +
                                 " --set 'objective.kind=\"sft\"' --set evaluation.every=0");
    EXPECT_EQ(done.exit_code, 0) << done.output;
    const std::string metrics = slurp(run_directory(run) + "/metrics.jsonl");
    const auto end = json_in(metrics.substr(metrics.rfind("{\"kind\":\"end\"")));
    return end.at("tokens").get<int64_t>();
  };
  const int64_t found = tokens(128);
  EXPECT_GT(found, 20 * 8 * 40);
  EXPECT_LT(found, 20 * 8 * 100);
  EXPECT_EQ(found, tokens(256));
}

TEST_F(TrainCommand, ARunIsForOneProcess) {
  const pid_t child =
      test::start_unmask({"train", "--quiet", "--config", config_, "--run", run_directory("busy"),
                          "--set", "evaluation.draws=100000"});
  ASSERT_TRUE(wait_for([&] { return fs::exists(checkpoint_path(run_directory("busy"), 20)); }));
  const auto second =
      run_unmask(train("busy") + "--resume --set evaluation.draws=100000 --set checkpoint.keep=1");
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_NE(second.output.find("another process is at work"), std::string::npos) << second.output;
  EXPECT_TRUE(test::kill_running(child));
  EXPECT_TRUE(fs::exists(checkpoint_path(run_directory("busy"), 10)));

  const std::string record = run_directory("busy") + "/config.json";
  ASSERT_TRUE(write_file_atomically(record, "[]").ok());
  const auto other = run_unmask(train("busy") + "--resume");
  EXPECT_EQ(other.exit_code, 2) << other.output;
}

TEST_F(TrainCommand, ResumesOnTheSameDataAlone) {
  const pid_t child = start("moved");
  ASSERT_TRUE(wait_for([&] { return fs::exists(checkpoint_path(run_directory("moved"), 10)); }));
  test::kill_running(child);
  fs::remove_all(checkpoint_path(run_directory("moved"), 20));
  std::string text = slurp(data_);
  std::replace(text.begin(), text.end(), '7', '8');
  directory_.write("text.txt", text);
  const auto resumed = run_unmask(train("moved") + "--resume");
  EXPECT_EQ(resumed.exit_code, 1);
  EXPECT_NE(resumed.output.find("other data"), std::string::npos) << resumed.output;
}

TEST_F(TrainCommand, NamesWhatToRemoveWhereTheNewestCheckpointIsDamaged) {
  ASSERT_EQ(run_unmask(train("damaged")).exit_code, 0);
  const std::string newest = checkpoint_path(run_directory("damaged"), 20);
  const std::string numbers = newest + "/training_state/state.json", whole = slurp(numbers);
  for (const auto& [from, to] : {std::pair{"\"step\": 20", "\"step\": -1"},
                                 {"\"step\": 20", "\"step\": 7"},
                                 {"\"data_cursor\": 160", "\"data_cursor\": 168"},
                                 {"\"seed\": 0", "\"seed\": 1"}}) {
    std::string changed = whole;
    ASSERT_NE(changed.find(from), std::string::npos) << from << "\n" << whole;
    std::ofstream(numbers) << changed.replace(changed.find(from), std::string(from).size(), to);
    const auto refused = run_unmask(train("damaged") + "--resume");
    EXPECT_EQ(refused.exit_code, 1) << to;
    EXPECT_NE(refused.output.find("not that of step 20"), std::string::npos) << refused.output;
  }
  fs::resize_file(newest + "/training_state/state.json", 3);
  const auto refused = run_unmask(train("damaged") + "--resume");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.output.find("remove " + newest), std::string::npos) << refused.output;
  fs::remove_all(newest);
  EXPECT_EQ(run_unmask(train("damaged") + "--resume").exit_code, 0);
}

TEST_F(TrainCommand, RefusesToMixRuns) {
  const auto quiet = run_unmask(train("run") + "--set training.steps=2");
  ASSERT_EQ(quiet.exit_code, 0);
  EXPECT_EQ(quiet.output, "");
  const auto again = run_unmask(train("run"));
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_NE(again.output.find("--resume"), std::string::npos) << again.output;
  const auto other = run_unmask(train("run") + "--resume --set model.hidden=32");
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.output.find("hidden"), std::string::npos) << other.output;
}

TEST_F(TrainCommand, TokensHaveNames) {
  for (const char* key : {"data.mask_token", "data.end_token"}) {
    const auto refused = run_unmask(train("nameless") + "--set '" + key + "=\"\"'");
    EXPECT_EQ(refused.exit_code, 2) << refused.output;
    EXPECT_NE(refused.output.find("the name of a token"), std::string::npos) << refused.output;
  }
}

TEST_F(TrainCommand, ExplainsBadInputWithExitCodes) {
  struct Case {
    std::string arguments;
    int exit_code;
    std::string words;
  };
  const std::string latin =
      directory_.write("latin.txt", "caf\xe9 cr\xe8me " + std::string(999, 'x'));
  const std::string short_text = directory_.write("short.txt", "too short");
  const Case cases[] = {
      {"train", 2, "--config"},
      {"train --config /nonexistent.toml", 1, "/nonexistent.toml"},
      {train("a") + "--set model.hidden=65", 2, "heads"},
      {train("a") + "--set model.hiden=64", 2, "hidden"},
      {train("a") + "--set routing.experts_per_token=9", 2, "experts_per_token"},
      {train("a") + "--set nonsense", 2, "key=value"},
      {train("a") + "--set data.paths='[\"/nonexistent.txt\"]'", 1, "/nonexistent.txt"},
      {train("a") + "--set data.paths='[\"" + short_text + "\"]'", 1, "64"},
      {train("a") + "--resume", 2, "checkpoint"},
      {train("a") + "--set objective.kind=block --set objective.block_size=0", 2, "block_size"},
      {"generate /nonexistent --prompt x", 1, "/nonexistent"},
      {"evaluate /nonexistent --data " + data_, 1, "/nonexistent"},
      {"report /nonexistent", 1, "/nonexistent"},
  };
  for (const Case& c : cases) {
    const auto outcome = run_unmask(c.arguments);
    EXPECT_EQ(outcome.exit_code, c.exit_code) << c.arguments << "\n" << outcome.output;
    EXPECT_NE(outcome.output.find(c.words), std::string::npos) << c.arguments << "\n"
                                                               << outcome.output;
  }
}

TEST_F(TrainCommand, SurvivesAFullDiskWhileSaving) {
  // A limit on file sizes stands in for the full disk: metrics still fit, weights do not.
  const auto [exit_code, output] =
      run_shell("bash -c 'ulimit -f 64; " + std::string(UNMASK_BINARY) + " " + train("full") + "'");
  EXPECT_EQ(exit_code, 1) << output;
  EXPECT_NE(output.find("checkpoint"), std::string::npos) << output;
  EXPECT_FALSE(latest_checkpoint(run_directory("full")));
  for (const auto& entry : fs::directory_iterator(run_directory("full") + "/checkpoints")) {
    EXPECT_TRUE(entry.path().string().find(".partial") == std::string::npos) << entry.path();
  }
}

TEST_F(TrainCommand, GoesOnWhereNobodyCanBeTold) {
  const Outcome outcome = run_shell("(" + std::string(UNMASK_BINARY) + " train --config " +
                                    config_ + " --run " + run_directory("mute") + " 2>/dev/full)");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  ASSERT_TRUE(latest_checkpoint(run_directory("mute")));
  EXPECT_EQ(latest_checkpoint(run_directory("mute"))->step, 20);
}

TEST_F(TrainCommand, GeneratesEvaluatesAndReportsFromARun) {
  ASSERT_EQ(run_unmask(train("run")).exit_code, 0);
  const std::string checkpoint = run_directory("run") + "/best";
  const auto text = run_unmask("generate " + checkpoint + " --prompt 'line ' --length 8 --steps 8");
  EXPECT_EQ(text.exit_code, 0) << text.output;
  const auto json =
      run_unmask("generate " + checkpoint + " --prompt 'line ' --length 8 --steps 8 --json");
  EXPECT_EQ(json.exit_code, 0);
  EXPECT_NE(json.output.find("forwards"), std::string::npos) << json.output;
  const auto loss = run_unmask("evaluate " + checkpoint + " --data " + data_);
  EXPECT_EQ(loss.exit_code, 0) << loss.output;
  EXPECT_NE(loss.output.find("perplexity"), std::string::npos) << loss.output;
  const std::string page = directory_.path("report.html");
  EXPECT_EQ(run_unmask("report " + run_directory("run") + " --out " + page).exit_code, 0);
  EXPECT_NE(slurp(page).find("<html"), std::string::npos);
}

}  // namespace
}  // namespace unmask
