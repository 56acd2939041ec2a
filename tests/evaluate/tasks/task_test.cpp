#include "unmask/evaluate/tasks/task.h"

#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "unmask/evaluate/tasks/registry.h"

namespace unmask {
namespace {

using nlohmann::json;

std::unique_ptr<Task> make(const char* name, const json& settings = json::object()) {
  auto task = find_task(name)->make(settings);
  EXPECT_TRUE(task.ok()) << task.error().message;
  return std::move(task).value();
}

std::vector<TaskExample> draw(const Task& task, Split split, int64_t count, uint64_t seed = 1) {
  auto examples = draw_examples(task, split, count, seed);
  EXPECT_TRUE(examples.ok()) << examples.error().message;
  return std::move(examples).value();
}

std::string refusal(const char* name, const json& settings) {
  const auto task = find_task(name)->make(settings);
  return task.ok() ? "" : task.error().message;
}

// The value of +, - and * with brackets, each computed from left to right.
class Calculator {
 public:
  explicit Calculator(std::string_view text) : text_(text) {}
  int64_t expression() {
    int64_t value = operand();
    while (!text_.empty() && text_[0] != ')') {
      const char operation = text_[0];
      text_.remove_prefix(1);
      const int64_t other = operand();
      value = operation == '+' ? value + other : operation == '-' ? value - other : value * other;
    }
    return value;
  }

 private:
  int64_t operand() {
    if (text_[0] == '(') {
      text_.remove_prefix(1);
      const int64_t value = expression();
      text_.remove_prefix(1);
      return value;
    }
    int64_t value = 0;
    while (!text_.empty() && text_[0] >= '0' && text_[0] <= '9') {
      value = 10 * value + (text_[0] - '0');
      text_.remove_prefix(1);
    }
    return value;
  }
  std::string_view text_;
};

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

TEST(Tasks, AreFunctionsOfTheSeedAndGradeTheirOwnAnswersRight) {
  for (const TaskEntry& entry : tasks()) {
    SCOPED_TRACE(entry.name);
    const auto task = make(std::string(entry.name).c_str());
    const auto examples = draw(*task, Split::train, 200), again = draw(*task, Split::train, 200);
    const auto others = draw(*task, Split::train, 200, 2);
    size_t same = 0;
    for (size_t i = 0; i < examples.size(); ++i) {
      const TaskExample& example = examples[i];
      EXPECT_EQ(example.prompt, again[i].prompt);
      EXPECT_EQ(example.answer, again[i].answer);
      EXPECT_TRUE(task->is_right(example, example.answer));
      EXPECT_TRUE(task->is_right(example, " " + example.answer + "\n"));
      EXPECT_FALSE(task->is_right(example, ""));
      EXPECT_FALSE(task->is_right(example, example.answer + "0"));
      same += example.prompt == others[i].prompt;
    }
    EXPECT_LT(same, 20u);
  }
}

TEST(Tasks, SplitsNeverShareAnExample) {
  for (const TaskEntry& entry : tasks()) {
    SCOPED_TRACE(entry.name);
    const auto task = make(std::string(entry.name).c_str());
    std::set<std::string> trained, prompts;
    for (const uint64_t seed : {1, 2, 3}) {
      for (const TaskExample& example : draw(*task, Split::train, 1000, seed)) {
        trained.insert(example.identity);
        prompts.insert(example.prompt);
      }
    }
    for (const TaskExample& example : draw(*task, Split::test, 300, 1)) {
      EXPECT_FALSE(trained.contains(example.identity)) << example.prompt;
      EXPECT_FALSE(prompts.contains(example.prompt)) << example.prompt;
    }
  }
}

TEST(Tasks, ATenthIsForTesting) {
  for (const TaskEntry& entry : tasks()) {
    SCOPED_TRACE(entry.name);
    const auto task = make(std::string(entry.name).c_str());
    std::set<std::string> all, tested;
    for (uint64_t i = 0; i < 3000; ++i) {
      TaskRandom random(5, i);
      const TaskExample example = task->draw(random);
      all.insert(example.identity);
      if (split_of(example) == Split::test) tested.insert(example.identity);
    }
    // Five standard deviations of a binomial.
    const auto n = static_cast<double>(all.size());
    EXPECT_NEAR(static_cast<double>(tested.size()), 0.1 * n, 5 * std::sqrt(0.09 * n));
  }
}

TEST(Tasks, RefuseImpossibleSettings) {
  EXPECT_NE(refusal("addition", {{"digit", 3}}).find("'digits'"), std::string::npos);
  EXPECT_NE(refusal("addition", {{"digits", 0}}).find("addition.digits"), std::string::npos);
  EXPECT_NE(refusal("sudoku", {{"size", 9}}).find("4 or 6"), std::string::npos);
  EXPECT_NE(refusal("infill", {{"gaps", 5}}).find("infill.gaps"), std::string::npos);
  EXPECT_NE(refusal("infill", {{"text", "/nonexistent"}}).find("/nonexistent"), std::string::npos);
  EXPECT_EQ(find_task("subtraction"), nullptr);
}

TEST(Addition, NumbersAreAsOftenShortAsLong) {
  const auto task = make("addition", {{"digits", 4}, {"even_lengths", true}});
  int64_t of_one_digit = 0;
  for (const TaskExample& e : draw(*task, Split::train, 2000)) {
    ASSERT_EQ(e.prompt.size(), 10u);
    if (e.prompt.starts_with("000")) ++of_one_digit;
  }
  // A quarter and what longer ones begin with three zeros: 0.278; uniform numbers: 0.001.
  EXPECT_NEAR(static_cast<double>(of_one_digit) / 2000, 0.278, 0.04);
}

TEST(Addition, AddsNumbersOfOneWidth) {
  const auto task = make("addition", {{"digits", 4}});
  for (const TaskExample& example : draw(*task, Split::train, 500)) {
    ASSERT_EQ(example.prompt.size(), 10u);
    ASSERT_EQ(example.answer.size(), 5u);
    const std::string sum = example.prompt.substr(0, 9);
    const int a = std::atoi(sum.substr(0, 4).c_str()), b = std::atoi(sum.substr(5).c_str());
    EXPECT_EQ(std::atoi(example.answer.c_str()), a + b) << example.prompt;
  }
  // One digit: 5+3 and 3+5 are for the same split.
  const auto digits = make("addition", {{"digits", 1}});
  std::set<std::string> tested;
  for (const TaskExample& e : draw(*digits, Split::test, 2000)) tested.insert(e.prompt);
  for (const std::string& prompt : tested) {
    EXPECT_TRUE(tested.contains({prompt[2], '+', prompt[0], '='})) << prompt;
  }
  EXPECT_LT(tested.size(), 40u);
  EXPECT_GT(tested.size(), 2u);
}

TEST(Arithmetic, EveryStepHasTheValue) {
  for (const int operands : {2, 4, 7}) {
    const auto task = make("arithmetic", {{"operands", operands}});
    for (const TaskExample& example : draw(*task, Split::train, 200)) {
      const std::string question = example.prompt.substr(0, example.prompt.size() - 1);
      const int64_t value = Calculator(question).expression();
      std::string rest = example.answer + "=";
      int steps = 0;
      for (size_t end = 0; (end = rest.find('=')) != std::string::npos; ++steps) {
        EXPECT_EQ(Calculator(rest.substr(0, end)).expression(), value) << example.prompt << rest;
        rest.erase(0, end + 1);
      }
      EXPECT_EQ(steps, operands - 1) << example.answer;
      EXPECT_TRUE(task->is_right(example, "1+1=" + std::to_string(value)));
      EXPECT_TRUE(task->is_right(example, std::to_string(value)));
      EXPECT_FALSE(task->is_right(example, std::to_string(value + 1)));
      EXPECT_EQ(example.answer.find('-', 0) == 0, false) << "nothing is negative";
    }
  }
}

TEST(Arithmetic, ProductsStaySmall) {
  const auto task = make("arithmetic", {{"operands", 2}, {"max", 999}});
  for (const TaskExample& example : draw(*task, Split::train, 300)) {
    if (example.prompt.find('*') == std::string::npos) continue;
    EXPECT_LE(std::atoi(example.answer.c_str()), 999) << example.prompt;
  }
}

TEST(WordProblems, NobodyGivesAllOrToThemselves) {
  const auto task = make("word-problems", {{"steps", 4}, {"max", 4}});
  for (const TaskExample& example : draw(*task, Split::train, 300)) {
    const std::string name = example.prompt.substr(0, example.prompt.find(' '));
    EXPECT_EQ(example.prompt.find(" to " + name + "."), std::string::npos) << example.prompt;
    EXPECT_EQ(example.answer.find("=0>>"), std::string::npos) << example.answer;
  }
}

TEST(WordProblems, SolutionsAddUp) {
  const auto task = make("word-problems", {{"steps", 4}});
  for (const TaskExample& example : draw(*task, Split::train, 200)) {
    // Each calculation is true: <<3*4=12>>12.
    std::string last;
    size_t at = 0;
    int calculations = 0;
    while ((at = example.answer.find("<<", at)) != std::string::npos) {
      const size_t equals = example.answer.find('=', at), end = example.answer.find(">>", at);
      last = example.answer.substr(equals + 1, end - equals - 1);
      const std::string question = example.answer.substr(at + 2, equals - at - 2);
      EXPECT_EQ(std::to_string(Calculator(question).expression()), last) << example.answer;
      EXPECT_EQ(example.answer.compare(end + 2, last.size(), last), 0);
      at = end;
      ++calculations;
    }
    EXPECT_GE(calculations, 4);
    EXPECT_TRUE(example.answer.ends_with("\n#### " + last)) << example.answer;
    EXPECT_TRUE(task->is_right(example, "so ####" + last + " "));
    EXPECT_FALSE(task->is_right(example, last)) << "the form asks for ####";
    EXPECT_FALSE(task->is_right(example, "#### " + last + "1"));
  }
}

TEST(Sorting, SortsTheSameNumbers) {
  const auto task = make("sorting", {{"count", 6}, {"digits", 3}});
  for (const TaskExample& example : draw(*task, Split::train, 200)) {
    auto shuffled = words_of(example.prompt), sorted = words_of(example.answer);
    EXPECT_EQ(sorted.size(), 6u);
    EXPECT_TRUE(std::ranges::is_sorted(sorted));
    EXPECT_TRUE(std::ranges::is_permutation(shuffled, sorted));
    EXPECT_EQ(example.prompt.size(), example.answer.size());
    EXPECT_EQ(example.identity, example.answer) << "other orders are for the same split";
  }
}

// Of a puzzle by trying all digits everywhere.
int solutions(std::string& grid, int size, size_t at) {
  const size_t width = static_cast<size_t>(size) + 1;  // with the end of the line
  at = grid.find('.', at);
  if (at == std::string::npos) return 1;
  const size_t row = at / width, column = at % width, boxes = static_cast<size_t>(size) / 2;
  int found = 0;
  for (char digit = '1'; digit < '1' + size; ++digit) {
    bool possible = true;
    for (size_t r = 0; r < static_cast<size_t>(size); ++r) {
      for (size_t c = 0; c < static_cast<size_t>(size); ++c) {
        const bool sees =
            r == row || c == column || (r / 2 == row / 2 && c / boxes == column / boxes);
        if (sees && grid[r * width + c] == digit) possible = false;
      }
    }
    if (!possible) continue;
    grid[at] = digit;
    found += solutions(grid, size, at + 1);
    grid[at] = '.';
  }
  return found;
}

TEST(Sudoku, HasOneSolutionWhichIsTheAnswer) {
  for (const int size : {4, 6}) {
    const auto task = make("sudoku", {{"size", size}, {"holes", size * size / 2}});
    int64_t holes = 0;
    const auto examples = draw(*task, Split::train, 30);
    for (const TaskExample& example : examples) {
      std::string grid = example.prompt;
      EXPECT_EQ(solutions(grid, size, 0), 1) << example.prompt;
      EXPECT_EQ(example.identity, example.answer) << "other holes are for the same split";
      ASSERT_EQ(example.answer.size(), example.prompt.size());
      for (size_t i = 0; i < grid.size(); ++i) {
        EXPECT_TRUE(grid[i] == '.' || grid[i] == example.answer[i]);
      }
      // A full grid has one way to be filled only if all its digits agree.
      for (size_t i = 0; i < grid.size(); ++i) {
        std::string one = example.answer;
        if (one[i] == '\n') continue;
        one[i] = '.';
        EXPECT_EQ(solutions(one, size, 0), 1);
      }
      holes += std::ranges::count(example.prompt, '.');
    }
    EXPECT_GT(holes, std::ssize(examples) * size * size * 4 / 10);
  }
}

TEST(Infill, RemovesWordsThatTheRestTells) {
  const auto task = make("infill", {{"gaps", 3}});
  for (const TaskExample& example : draw(*task, Split::train, 200)) {
    auto shown = words_of(example.prompt);
    const auto gone = words_of(example.answer);
    ASSERT_EQ(std::ranges::count(shown, "_"), 3);
    size_t next = 0;
    for (std::string& word : shown) {
      if (word != "_") continue;
      EXPECT_EQ(std::ranges::count(shown, gone[next]), 1) << example.prompt;
      word = gone[next++];
    }
    std::string whole;
    for (const std::string& word : shown) whole += (whole.empty() ? "" : " ") + word;
    EXPECT_EQ(whole, example.identity);
  }
}

TEST(Infill, TakesSentencesOfAText) {
  const test::TemporaryDirectory directory;
  const std::string text = directory.write(
      "text.txt",
      "It was the best of times, it was \"the worst\" of times. Short one.\nThe well-known café of "
      "Zoë's aunt was\nfull of people! Is this not the very last sentence of them all?");
  const auto task = make("infill", {{"text", text}, {"gaps", 2}, {"words", 12}});
  std::set<std::string> sentences;
  for (uint64_t i = 0; i < 200; ++i) {
    TaskRandom random(1, i);
    const TaskExample example = task->draw(random);
    sentences.insert(example.identity);
    EXPECT_EQ(std::ranges::count(words_of(example.prompt), "_"), 2);
    EXPECT_EQ(words_of(example.answer).size(), 2u);
  }
  EXPECT_EQ(sentences,
            (std::set<std::string>{"It was the best of times it was the worst of times",
                                   "The well-known café of Zoë's aunt was full of people",
                                   "Is this not the very last sentence of them all"}));
}

TEST(DrawExamples, SaysWhenThereAreTooFew) {
  const test::TemporaryDirectory directory;
  const std::string text = directory.write("text.txt", "There is one sentence only in this text.");
  const auto task = make("infill", {{"text", text}});
  const bool trains = draw_examples(*task, Split::train, 1, 0).ok();
  const auto none = draw_examples(*task, trains ? Split::test : Split::train, 1, 0);
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("too few"), std::string::npos) << none.error().message;
}

TEST(Infill, SentencesHaveMoreWordsThanTwiceTheGaps) {
  const test::TemporaryDirectory directory;
  const std::string four = directory.write("four.txt", "one two three four.");
  EXPECT_NE(refusal("infill", {{"text", four}}).find("5 to 16 words"), std::string::npos);
  EXPECT_EQ(refusal("infill", {{"text", directory.write("five.txt", "a b c d e.")}}), "");
  EXPECT_NE(refusal("infill", {{"text", four}, {"words", 4}, {"gaps", 3}}).find("infill.gaps"),
            std::string::npos);
}

}  // namespace
}  // namespace unmask
