// A model is trained on the examples of a task, and its answers are graded.
#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask {
namespace {

using nlohmann::json;
using test::expect_error;
using test::kSource;
using test::run_unmask;

// A small model learns to sort two digits.
class EvaluateTaskCommand : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new test::TemporaryDirectory;
    const std::string data = directory_->path("sorting.jsonl"),
                      config =
                          directory_->write("config.toml", "[data]\npaths = ['" + data +
                                                               "']\ntokenizer = '" + kSource +
                                                               R"(/configs/tasks/tokenizer.json'
sequence_length = 10
[model]
layers = 2
hidden = 64
heads = 2
experts = 4
expert_ffn = 64
shared_ffn = 64
[routing]
experts_per_token = 2
[objective]
kind = "sft"
[training]
steps = 600
batch = 32
[optimizer]
learning_rate = 3e-3
warmup = 20
[evaluation]
sample_length = 8
)");
    ASSERT_EQ(run_unmask("task sorting --count 4000 --set count=2 --set digits=1 --out " + data)
                  .exit_code,
              0);
    const auto trained =
        run_unmask("train --quiet --config " + config + " --run " + directory_->path("run"));
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
  }
  static void TearDownTestSuite() { delete directory_; }

  static std::string evaluate(const std::string& flags) {
    return "evaluate " + directory_->path("run") + " " + flags;
  }
  static json evaluate_json(const std::string& flags) {
    const auto outcome = run_unmask(evaluate(flags) + " --json");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return json_in(outcome.output);
  }

  static inline test::TemporaryDirectory* directory_ = nullptr;
};

const std::string kSorting = "--task sorting --set count=2 --set digits=1 --count 40 ";

TEST_F(EvaluateTaskCommand, ATrainedModelAnswersWhatItHasNotSeen) {
  const json found = evaluate_json(kSorting + "--show 3");
  const double accuracy = found.at("accuracy");
  EXPECT_GT(accuracy, 0.8) << found;
  EXPECT_EQ(found.at("count"), 40);
  EXPECT_LT(found.at("interval")[0], accuracy);
  EXPECT_GE(found.at("interval")[1], accuracy);
  EXPECT_EQ(found.at("report").at("unique_experts_per_layer").size(), 2u);
  EXPECT_GT(found.at("report").at("tokens_per_forward"), 0);
  EXPECT_GT(found.at("tokens_per_second"), 0);
  ASSERT_EQ(found.at("examples").size(), 3u);
  for (const json& example : found.at("examples")) {
    EXPECT_EQ(example.at("right"), example.at("text") == example.at("answer")) << example;
  }
}

TEST_F(EvaluateTaskCommand, SaysTheSameAsText) {
  const auto outcome = run_unmask(evaluate(kSorting + "--samples 2 --temperature 0.5 --show 4"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  for (const char* const word :
       {"sorting: ", " % of 40 right (95 % interval ", "in any of 2 samples", "tokens/s",
        "unique experts:", "-- right\n"}) {
    EXPECT_NE(outcome.output.find(word), std::string::npos) << word << "\n" << outcome.output;
  }
}

TEST_F(EvaluateTaskCommand, ShowsEverySampleWithItsQuestion) {
  const json found = evaluate_json(kSorting + "--samples 2 --temperature 0.5 --show 6");
  const json& examples = found.at("examples");
  ASSERT_EQ(examples.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(examples[i].at("prompt"), examples[i / 2 * 2].at("prompt"));
    EXPECT_EQ(examples[i].at("right"), examples[i].at("text") == examples[i].at("answer"));
  }
}

TEST_F(EvaluateTaskCommand, TheSeedDrawsTheQuestions) {
  const auto questions = [](const std::string& seed) {
    return evaluate_json("--task sorting --count 10 --show 10 --set count=2 --seed " + seed)
        .at("examples");
  };
  EXPECT_NE(questions("1"), questions("2"));
}

TEST_F(EvaluateTaskCommand, TakesDecodingAndRoutingFlags) {
  const json alone = evaluate_json(kSorting),
             fast = evaluate_json(kSorting +
                                  "--sampler threshold --threshold 0.1 --steps 1 --routing top-k "
                                  "--experts-per-token 1");
  EXPECT_LT(fast.at("report").at("forwards").at("denoise"),
            alone.at("report").at("forwards").at("denoise"));
  EXPECT_LT(fast.at("report").at("unique_experts"), alone.at("report").at("unique_experts"));
}

TEST_F(EvaluateTaskCommand, AsksMultipleChoice) {
  const std::string data = " --data " + kSource + "/tests/data/choice";
  const json found = evaluate_json("--task arc-easy --show 3" + data);
  EXPECT_EQ(found.at("shots"), 5);
  EXPECT_EQ(found.at("count"), 3);
  int right = 0;
  for (const json& example : found.at("examples")) right += example["chosen"] == example["answer"];
  EXPECT_DOUBLE_EQ(found.at("accuracy"), right / 3.0);
  EXPECT_EQ(evaluate_json("--task arc-easy --count 2" + data).at("count"), 2);
  const auto text = run_unmask(evaluate("--task mmlu --split dev --shots 0 --show 1" + data));
  EXPECT_EQ(text.exit_code, 0) << text.output;
  EXPECT_NE(text.output.find("mmlu, 0 shots: "), std::string::npos) << text.output;
  expect_error(evaluate("--task piqa" + data), 1, "piqa_test.jsonl");
}

TEST_F(EvaluateTaskCommand, RefusesFlagsThatMeanNothing) {
  const std::string data = " --data " + kSource + "/tests/data/choice";
  expect_error(evaluate("--task additon"), 2, "nearest: addition");
  expect_error(evaluate(""), 2, "--data");
  expect_error(evaluate("--task arc-easy"), 2, "--data");
  expect_error(evaluate("--task sorting" + data), 2, "--data: means nothing with --task sorting");
  expect_error(evaluate("--task sorting --levels 0.5"), 2, "--levels");
  expect_error(evaluate("--steps 3" + data), 2, "--steps: means nothing without --task");
  expect_error(evaluate("--task arc-easy --sampler quota" + data), 2, "--sampler");
  expect_error(evaluate("--task sorting --set digits=0"), 2, "sorting.digits");
  expect_error(evaluate("--task sorting --length 100000"), 2, "positions");
}

}  // namespace
}  // namespace unmask
