// A small model learns to sort two digits, writes its own answers, and is trained on them with
// block experts: unbroken, and killed in either part.
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/retention.h"
#include "unmask/text/conversations.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::kSource;
using test::run_unmask;
using test::slurp;

class DistillCommand : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new test::TemporaryDirectory;
    const std::string data = path("sorting.jsonl");
    const std::string tokenizer = kSource + "/configs/tasks/tokenizer.json";
    const std::string config = directory_->write(
        "teacher.toml", "[data]\npaths = ['" + data + "']\ntokenizer = '" + tokenizer + R"('
sequence_length = 10
[model]
layers = 2
hidden = 64
heads = 2
experts = 8
expert_ffn = 32
shared_ffn = 64
[routing]
experts_per_token = 2
[objective]
kind = "block"
block_size = 4
[training]
seed = 1
steps = 400
batch = 32
[optimizer]
learning_rate = 3e-3
warmup = 20
[evaluation]
sample_length = 8
)");
    directory_->write("student.toml", "[distill]\nprompts = ['" + data + R"(']
count = 160
batch = 4
length = 12
[data]
sequence_length = 10
validation_fraction = 0.05
[routing]
policy = "block-experts"
experts_per_token = 2
[routing.block]
size = 4
p = 0.6
coreset_min = 2
[objective]
kind = "block"
block_size = 4
confidence = 1.0
[training]
from = ')" + path("teacher") + R"('
epochs = 3
batch = 4
[optimizer]
learning_rate = 3e-4
warmup_share = 0.03
schedule = "cosine"
[evaluation]
sample_length = 8
[checkpoint]
every = 20
keep = 9
)");
    const std::string sorting = "task sorting --set count=2 --set digits=1 ";
    ASSERT_EQ(run_unmask(sorting + "--count 4000 --out " + data).exit_code, 0);
    const auto trained =
        run_unmask("train --quiet --config " + config + " --run " + path("teacher"));
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
    const auto straight = run_unmask(distill("straight"));
    ASSERT_EQ(straight.exit_code, 0) << straight.output;
  }
  static void TearDownTestSuite() { delete directory_; }

  static std::string path(const std::string& name) { return directory_->path(name); }
  static std::string distill(const std::string& run) {
    return "distill --quiet --config " + path("student.toml") + " --run " + path(run) + " ";
  }
  static json json_of(const std::string& name) {
    const json parsed = json_in(slurp(path(name)));
    return parsed.is_object() ? parsed : json::object();
  }

  // Starts a distillation and kills it as soon as the condition holds.
  template <class Condition>
  void kill_once(const std::string& run, Condition condition) {
    std::vector<std::string> arguments = {"distill", "--quiet", "--config", path("student.toml"),
                                          "--run",   path(run)};
    if (fs::exists(path(run))) arguments.emplace_back("--resume");
    const pid_t child = test::start_unmask(arguments);
    EXPECT_TRUE(test::wait_for(condition));
    ASSERT_TRUE(test::kill_running(child)) << "it ended before it could be killed";
  }

  void expect_error(const std::string& arguments, int exit_code, const std::string& part) {
    const auto outcome = run_unmask(arguments);
    EXPECT_EQ(outcome.exit_code, exit_code) << arguments << "\n" << outcome.output;
    EXPECT_NE(outcome.output.find(part), std::string::npos) << arguments << "\n" << outcome.output;
  }

  static inline test::TemporaryDirectory* directory_ = nullptr;
};

TEST_F(DistillCommand, TrainsAModelOnItsOwnAnswers) {
  const json counts = json_of("straight/targets.json");
  EXPECT_EQ(counts["prompts"], 160);
  EXPECT_EQ(counts["answered"], 160);
  const int64_t kept = counts["kept"];
  EXPECT_GT(kept, 100);
  EXPECT_EQ(counts["unfinished"], 160 - kept);
  std::istringstream lines(slurp(path("straight/targets.jsonl")));
  int64_t found = 0;
  for (std::string line; std::getline(lines, line); ++found) {
    const auto conversation = parse_conversation(line);
    ASSERT_TRUE(conversation) << line;
    EXPECT_EQ(conversation->back().role, "assistant");
    EXPECT_EQ(conversation->back().content.find("role"), std::string::npos) << line;
  }
  EXPECT_EQ(found, kept);

  const auto held_out = static_cast<int64_t>(std::ceil(0.05 * static_cast<double>(kept)));
  const int64_t steps = (3 * (kept - held_out) + 3) / 4;
  const auto last = latest_checkpoint(path("straight"));
  ASSERT_TRUE(last);
  EXPECT_EQ(last->step, steps) << "three epochs in batches of 4";

  // The teacher keeps its routing, the student has that of the configuration.
  using Selection = RoutingPolicy::Selection;
  const auto teacher = load_model_config(*find_checkpoint(path("teacher")));
  const auto student = load_model_config(last->path);
  EXPECT_EQ(teacher->routing.policy, Selection::token_choice);
  EXPECT_EQ(student->routing.policy, Selection::block_experts);
  EXPECT_EQ(student->attention_block, 4);
  EXPECT_NE(slurp(path("straight/metrics.jsonl")).find("\"confidence_loss\":0.0"),
            std::string::npos)
      << "entropies of right predictions are small by now";

  const auto answers = run_unmask("evaluate " + path("straight") +
                                  " --task sorting --set count=2 --set digits=1 --count 40 --json");
  EXPECT_EQ(answers.exit_code, 0) << answers.output;
  // Guessing gives 0.01; four seeds on three instruction sets, which round sums otherwise, 0.8 or
  // more.
  EXPECT_GT(json_in(answers.output).value("accuracy", 0.0), 0.6) << answers.output;
}

TEST_F(DistillCommand, GoesOnBitIdenticallyWhenKilledInEitherPart) {
  kill_once("killed", [] { return json_of("killed/targets.json").value("answered", 0) >= 20; });
  const int64_t answered = json_of("killed/targets.json").value("answered", 0);
  ASSERT_LT(answered, 160) << "it was killed too late";
  std::ofstream(path("killed/targets.jsonl"), std::ios::app) << "{\"messages\": [{\"ro";
  kill_once("killed", [] { return fs::exists(checkpoint_path(path("killed"), 20)); });
  const auto latest = latest_checkpoint(path("killed"));
  const auto straight = latest_checkpoint(path("straight"));
  ASSERT_LT(latest->step, straight->step) << "it was killed too late";

  const auto resumed = run_unmask(distill("killed") + "--resume");
  ASSERT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_EQ(slurp(path("killed/targets.jsonl")), slurp(path("straight/targets.jsonl")));
  for (const char* file : {"/model.safetensors", "/training_state/state.safetensors"}) {
    const std::string bytes = slurp(checkpoint_path(path("straight"), straight->step) + file);
    EXPECT_FALSE(bytes.empty());
    EXPECT_EQ(bytes, slurp(checkpoint_path(path("killed"), straight->step) + file)) << file;
  }
}

// Full attention writes all at once; the student is what its objective says.
TEST_F(DistillCommand, TakesAnyTeacherAndAnyObjective) {
  const std::string teacher = path("full"), config = path("teacher.toml");
  ASSERT_EQ(run_unmask("train --quiet --config " + config + " --run " + teacher +
                       " --set objective.kind=sft")
                .exit_code,
            0);
  const std::string from = " --set training.from=" + teacher + " --set distill.length=5";
  for (const std::string kind : {"sft", "block"}) {
    const std::string run = "full-" + kind;
    const auto outcome = run_unmask(distill(run) + from + " --set objective.kind=" + kind);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_GT(json_of(run + "/targets.json").value("kept", 0), 100);
    const auto student = load_model_config(latest_checkpoint(path(run))->path);
    EXPECT_EQ(student->attention_block, kind == "block" ? 4 : 0);
  }
  EXPECT_EQ(slurp(path("full-sft/targets.jsonl")), slurp(path("full-block/targets.jsonl")))
      << "the teacher is the same";
}

// At a temperature at which answers depend on every logit.
TEST_F(DistillCommand, TheTeacherKeepsItsOwnRouting) {
  for (const std::string policy : {"block-experts", "expert-choice"}) {
    const auto outcome = run_unmask(distill("hot-" + policy) + "--set routing.policy=" + policy +
                                    " --set distill.temperature=2 --set distill.count=60");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  }
  EXPECT_EQ(slurp(path("hot-block-experts/targets.jsonl")),
            slurp(path("hot-expert-choice/targets.jsonl")));
}

TEST_F(DistillCommand, NamesWhatIsWrong) {
  const std::string none = directory_->write("none.jsonl", "\n");
  const std::string other = directory_->write("other.jsonl", "{\"text\": \"x\"}\n");
  const std::string wide =
      directory_->write("wide.jsonl", "{\"prompt\": \"1 2\"}\n{\"prompt\": \"1 2 3 4 5 6\"}\n");
  const auto prompts = [](const std::string& file) {
    return distill("wrong") + "--set distill.prompts='[\"" + file + "\"]'";
  };
  expect_error(prompts(none), 2, "at least one prompt");
  expect_error(prompts("/nonexistent.jsonl"), 1, "/nonexistent.jsonl");
  expect_error(prompts(other), 1, "other.jsonl:1");
  expect_error(prompts(wide), 1, "prompt 2 has");
  expect_error(distill("wrong") + "--set training.from=/nonexistent", 1, "/nonexistent");
  expect_error(distill("wrong") + "--set distill.block_length=-1", 2, "block_length");
  expect_error(distill("wrong") + "--set distill.threshold=7", 2, "threshold");
  expect_error(distill("wrong") + "--set distill.steps=0", 2, "distill.steps");
  expect_error(distill("wrong") + "--resume", 2, "without --resume");
  EXPECT_FALSE(fs::exists(path("wrong"))) << "nothing is written before all is well";

  expect_error(distill("straight"), 2, "--resume");
  expect_error(distill("straight") + "--resume --set distill.threshold=0.5", 2,
               "distill.threshold = not given, now it is 0.5");
  expect_error(distill("short") + "--set distill.length=1 --set distill.count=8", 1,
               "raise distill.length");
}

}  // namespace
}  // namespace unmask
