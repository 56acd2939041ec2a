#include "unmask/evaluate/answers.h"

#include "tests/diffusion/tiny_model.h"
#include <algorithm>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "unmask/text/conversations.h"

namespace unmask {
namespace {

// Every question's answer is a text of so many x.
class CountX final : public Task {
 public:
  TaskExample draw(TaskRandom& random) const override {
    const int64_t count = random.between(1, 4);
    return {.prompt = std::to_string(count),
            .answer = std::string(static_cast<size_t>(count), 'x'),
            .identity = std::to_string(random.between(0, 1 << 20))};
  }
};

// Writes x everywhere.
Model writes_x() {
  std::vector<float> logits(258, 0.0f);
  logits['x'] = 8;
  return constant_model(logits, tiny_byte_config(128));
}

class EvaluateTask : public testing::Test {
 protected:
  Result<TaskEvaluation> try_evaluate() {
    Model model = writes_x();
    return evaluate_task(model, *tokenizer_, task_, examples_, options_, StopStrings(), tape_);
  }
  TaskEvaluation evaluate() {
    auto evaluation = try_evaluate();
    EXPECT_TRUE(evaluation.ok()) << evaluation.error().message;
    return std::move(evaluation).value();
  }
  int64_t threes() const {
    return std::ranges::count_if(examples_, [](const auto& e) { return e.answer == "xxx"; });
  }

  CountX task_;
  std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::load("byte").value();
  std::vector<TaskExample> examples_ = *draw_examples(task_, Split::test, 9, 1);
  AnswerOptions options_;
  Tape tape_;
};

TEST_F(EvaluateTask, AsksInConversationsAndGrades) {
  ASSERT_GT(threes(), 0);
  options_.length = 3;
  const TaskEvaluation evaluation = evaluate();
  ASSERT_EQ(evaluation.answers.size(), examples_.size());
  for (size_t i = 0; i < examples_.size(); ++i) {
    EXPECT_EQ(evaluation.answers[i].text, "xxx");
    EXPECT_EQ(evaluation.answers[i].right, examples_[i].answer == "xxx");
    const Message question = {"user", examples_[i].prompt};
    EXPECT_EQ(tokenizer_->decode(evaluation.generations[i].tokens),
              *ChatTemplate::of(*tokenizer_).prompt(std::span(&question, 1)) + "xxx");
  }
  EXPECT_EQ(evaluation.accuracy.count, 9);
  EXPECT_DOUBLE_EQ(evaluation.accuracy.share, static_cast<double>(threes()) / 9);
  EXPECT_EQ(evaluation.report.forwards, 3);
  EXPECT_GT(evaluation.report.expert_bytes, 0);
}

TEST_F(EvaluateTask, GivesAnswersTheRoomOfTheRightOne) {
  const TaskEvaluation evaluation = evaluate();
  for (size_t i = 0; i < examples_.size(); ++i) {
    // With <|role_end|> and the end token.
    EXPECT_EQ(evaluation.answers[i].text.size(),
              examples_[i].answer.size() + ChatTemplate::of(*tokenizer_).end.size() + 1);
  }
}

TEST_F(EvaluateTask, CutsIntoBatchesWithTheSameAnswersAndCountsSamples) {
  options_.length = 3;
  options_.samples = 2;
  options_.generate.temperature = 2;
  options_.seed = 7;
  const TaskEvaluation whole = evaluate();
  options_.batch = 4;
  const TaskEvaluation parts = evaluate();
  ASSERT_EQ(whole.answers.size(), 18u);
  int64_t any = 0, right = 0, different = 0;
  for (size_t i = 0; i < 18; i += 2) {
    EXPECT_EQ(whole.answers[i].text, parts.answers[i].text);
    EXPECT_EQ(whole.answers[i + 1].text, parts.answers[i + 1].text);
    different += whole.answers[i].text != whole.answers[i + 1].text;
    right += whole.answers[i].right + whole.answers[i + 1].right;
    any += whole.answers[i].right || whole.answers[i + 1].right;
  }
  EXPECT_GT(different, 0);
  EXPECT_DOUBLE_EQ(whole.accuracy.share, static_cast<double>(right) / 18);
  EXPECT_DOUBLE_EQ(whole.any.share, static_cast<double>(any) / 9);
  EXPECT_EQ(whole.any.count, 9);
  EXPECT_EQ(parts.report.forwards, 5 * whole.report.forwards);
}

TEST_F(EvaluateTask, OneRightSampleOfSeveralIsEnoughForAny) {
  options_.length = 1;
  options_.samples = 8;
  options_.generate.temperature = 1.44f;  // x half of the time
  const TaskEvaluation evaluation = evaluate();
  int64_t ones = 0;
  for (size_t i = 0; i < examples_.size(); ++i) {
    const auto answers = std::span(evaluation.answers).subspan(8 * i, 8);
    const auto right = std::ranges::count_if(answers, [](const auto& a) { return a.right; });
    EXPECT_LT(right, 8);
    ones += right > 0;
  }
  EXPECT_GT(ones, 0);
  EXPECT_DOUBLE_EQ(evaluation.any.share, static_cast<double>(ones) / 9);
}

TEST_F(EvaluateTask, BadOptionsAreUsageErrors) {
  options_.samples = 0;
  EXPECT_FALSE(try_evaluate().ok());
  options_.samples = 1;
  options_.length = 1000;
  const auto long_one = try_evaluate();
  ASSERT_FALSE(long_one.ok());
  EXPECT_NE(long_one.error().message.find("positions"), std::string::npos);
}

}  // namespace
}  // namespace unmask
