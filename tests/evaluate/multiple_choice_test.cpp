#include "unmask/evaluate/multiple_choice.h"

#include "tests/diffusion/tiny_model.h"
#include "tests/evaluate/choice_data.h"
#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace unmask {
namespace {

ChoiceEvaluation evaluate(Model& model, const char* task, const ChoiceData& data,
                          const ChoiceOptions& options) {
  const auto tokenizer = Tokenizer::load("byte").value();
  Tape tape;
  auto evaluation =
      evaluate_choices(model, *tokenizer, *find_choice_task(task), data, options, tape);
  EXPECT_TRUE(evaluation.ok()) << evaluation.error().message;
  return std::move(evaluation).value();
}

// Bytes have no token " B": the space they share is given, the letter is masked.
TEST(EvaluateChoices, TakesTheMostProbableLetter) {
  const ChoiceData data = choice_data("arc-easy", 5);
  std::vector<float> logits(258, 0.0f);
  logits['Z'] = 9;  // no choice
  logits['B'] = 3;
  logits['C'] = 2;
  Model model = constant_model(logits, tiny_byte_config(4096));
  for (const int32_t batch : {1, 2, 8}) {
    const auto evaluation = evaluate(model, "arc-easy", data, {.shots = 5, .batch = batch});
    EXPECT_EQ(evaluation.chosen, (std::vector<int32_t>{1, 1, 1}));
    EXPECT_EQ(evaluation.accuracy.count, 3);
    EXPECT_GT(evaluation.seconds, 0);
    double right = 0;
    for (const ChoiceQuestion& question : data.questions) right += question.answer == 1;
    EXPECT_DOUBLE_EQ(evaluation.accuracy.share, right / 3);
    EXPECT_EQ(evaluation.routing.size(), 2u);
    EXPECT_EQ(evaluation.shortened + evaluation.left_out, 0);
  }
}

TEST(EvaluateChoices, FitsShotsAndLeavesOutWhatDoesNotFit) {
  const ChoiceData data = choice_data("arc-easy", 5);
  ModelConfig config = tiny_byte_config(4096);
  config.max_positions = 900;  // bytes
  Model model = random_model(config);
  const auto some = evaluate(model, "arc-easy", data, {.shots = 5});
  EXPECT_EQ(some.shortened, 3);
  EXPECT_EQ(some.left_out, 0);
  config.max_positions = 250;
  Model small = random_model(config);
  const auto few = evaluate(small, "arc-easy", data, {.shots = 5});
  EXPECT_GT(few.left_out, 0);
  EXPECT_EQ(few.accuracy.count + few.left_out, 3);
  EXPECT_EQ(std::ranges::count(few.chosen, -1), few.left_out);
}

// log p of each byte is known: the mean per token decides, not the sum.
TEST(EvaluateChoices, ComparesEndingsByTheirMeanLogProbability) {
  std::vector<float> logits(258, 0.0f);
  logits[' '] = 2;
  logits['a'] = 4;
  logits['b'] = 3;
  Model model = constant_model(logits, tiny_byte_config(4096));
  ChoiceData data;
  data.questions = {{.question = "q", .choices = {"b", "aaab", "c"}, .answer = 1},
                    {.question = "q", .choices = {"b", "ab", "cccc"}, .answer = 1},
                    {.question = "q", .choices = {"c", "ccc"}, .answer = 0}};
  // Means of the logits, with the space in front: (2 + 3) / 2 < (2 + 4 + 4 + 4 + 3) / 5;
  // (2 + 3) / 2 < (2 + 4 + 3) / 3; 2 / 2 > 2 / 4.
  const auto evaluation = evaluate(model, "hellaswag", data, {.batch = 3});
  EXPECT_EQ(evaluation.chosen, (std::vector<int32_t>{1, 1, 0}));
  EXPECT_DOUBLE_EQ(evaluation.accuracy.share, 1.0);
}

TEST(EvaluateChoices, OfEqualOnesTheFirstIsChosen) {
  const ChoiceData data = choice_data("arc-easy", 0);
  Model model = constant_model(std::vector<float>(258, 0.0f), tiny_byte_config(4096));
  EXPECT_EQ(evaluate(model, "arc-easy", data, {}).chosen, (std::vector<int32_t>{0, 0, 0}));
}

TEST(EvaluateChoices, AQuestionMayFillThePositions) {
  ChoiceData data = choice_data("arc-easy", 5);
  data.questions.resize(1);
  const std::string prompt = choice_prompt(*find_choice_task("arc-easy"),
                                           std::span(data.pool).first(1), data.questions[0]);
  const auto tokens = Tokenizer::load("byte").value()->encode(prompt);
  const auto positions = static_cast<int32_t>(tokens->size()) + 2;  // a space and the mask
  for (const int32_t missing : {0, 1}) {
    Model model = random_model(tiny_byte_config(positions - missing));
    EXPECT_EQ(evaluate(model, "arc-easy", data, {.shots = 1}).shortened, missing);
  }
}

TEST(EvaluateChoices, ShotsOfTheSubjectAlone) {
  ChoiceQuestion question = {.question = "q", .choices = {"a", "b"}, .answer = 0, .subject = "x"};
  ChoiceData data;
  data.questions = {question};
  question.subject = "y";
  question.question = std::string(500, 'q');
  data.pool = {question};
  Model model = random_model(tiny_byte_config(200));
  EXPECT_EQ(evaluate(model, "mmlu", data, {.shots = 1}).shortened, 0);
  EXPECT_EQ(evaluate(model, "arc-easy", data, {.shots = 1}).shortened, 1);
}

TEST(EvaluateChoices, LeavesOutQuestionsOfWhichAnyEndingDoesNotFit) {
  std::vector<float> logits(258, 0.0f);
  logits[' '] = 9;
  logits['a'] = 1;
  logits['b'] = 2;
  Model model = constant_model(logits, tiny_byte_config(64));
  ChoiceData data;
  // With the space in front: (9 + 1) / 2 > (9 + 2 + 2) / 3.
  data.questions = {{.question = "q", .choices = {"a", "bb"}, .answer = 0},
                    {.question = "q", .choices = {std::string(100, 'x'), "b"}, .answer = 0}};
  const auto evaluation = evaluate(model, "hellaswag", data, {});
  EXPECT_EQ(evaluation.chosen, (std::vector<int32_t>{0, -1}));
  EXPECT_EQ(evaluation.left_out, 1);
}

}  // namespace
}  // namespace unmask
