#include "unmask/evaluate/choice_questions.h"

#include "tests/evaluate/choice_data.h"
#include "tests/support/temporary_directory.h"
#include <map>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace unmask {
namespace {

TEST(ChoicePrompt, IsTheFormatOfThePaperToTheCharacter) {
  const ChoiceTask& arc = *find_choice_task("arc-easy");
  const ChoiceData data = choice_data("arc-easy", arc.shots);
  ASSERT_EQ(data.questions.size(), 3u);
  EXPECT_EQ(choice_prompt(arc, std::span(data.pool).first(2), data.questions[1]),
            "The following is a multiple choice question about science.\n"
            "\n"
            "Which factor will most likely cause a person to develop a fever?\n"
            "A. a leg muscle relaxing after exercise\n"
            "B. a bacterial population in the bloodstream\n"
            "C. several viral particles on the skin\n"
            "D. carbohydrates being digested in the stomach\n"
            "Answer: B\n"
            "\n"
            "Lichens are symbiotic organisms made of green algae and fungi. What do the green "
            "algae supply to the fungi in this symbiotic relationship?\n"
            "A. carbon dioxide\n"
            "B. food\n"
            "C. protection\n"
            "D. water\n"
            "Answer: B\n"
            "\n"
            "Which piece of safety equipment is used to keep mold spores from entering the "
            "respiratory system?\n"
            "A. safety goggles\n"
            "B. breathing mask\n"
            "C. rubber gloves\n"
            "D. lead apron\n"
            "Answer:");
  const ChoiceTask& copa = *find_choice_task("copa");
  EXPECT_EQ(choice_prompt(copa, {}, choice_data("copa", 0).questions[0]),
            "The following is a multiple choice question about causal reasoning.\n"
            "\n"
            "The man turned on the faucet. What happened as a result?\n"
            "A. The toilet filled with water.\n"
            "B. Water flowed from the spout.\n"
            "Answer:");
  EXPECT_EQ(
      choice_prompt(*find_choice_task("mmlu"), {}, choice_data("mmlu", 0, "dev").questions[0]),
      "The following is a multiple choice question about abstract algebra.\n"
      "\n"
      "Find all c in Z_3 such that Z_3[x]/(x^2 + c) is a field.\n"
      "A. 0\n"
      "B. 1\n"
      "C. 2\n"
      "D. 3\n"
      "Answer:");
}

TEST(ChoicePrompt, HeadersAndShotsOfEveryBenchmark) {
  const auto header = [](const char* name, const std::string& subject) {
    const std::string prompt =
        choice_prompt(*find_choice_task(name), {}, {.question = "q", .subject = subject});
    return prompt.substr(0, prompt.find("\n\n"));
  };
  const std::string about = "The following is a multiple choice question about ";
  EXPECT_EQ(header("arc-challenge", "science"), about + "science.");
  EXPECT_EQ(header("openbookqa", "science"), about + "science.");
  EXPECT_EQ(header("piqa", "physical_intuition"), about + "physical intuition.");
  EXPECT_EQ(header("winogrande", "commonsense"),
            "The following is a sentence completion question.");
  EXPECT_EQ(header("boolq", ""), "The following is a yes/no question.");
  std::map<std::string, int32_t> shots;
  for (const std::string& name : choice_task_names()) shots[name] = find_choice_task(name)->shots;
  EXPECT_EQ(shots, (std::map<std::string, int32_t>{{"mmlu", 5},
                                                   {"arc-easy", 5},
                                                   {"arc-challenge", 25},
                                                   {"winogrande", 5},
                                                   {"openbookqa", 0},
                                                   {"piqa", 0},
                                                   {"copa", 0},
                                                   {"boolq", 0},
                                                   {"hellaswag", 0}}));
}

TEST(ReadChoiceData, TakesShotsFromTrainWhereDevIsAsked) {
  const test::TemporaryDirectory directory;
  for (const char* split : {"dev", "train", "test"}) {
    directory.write(
        fmt::format("arc_easy_{}.jsonl", split),
        fmt::format(R"({{"question": "{}", "choices": ["a", "b"], "answer": 0, "subject": "s"}})",
                    split));
  }
  for (const auto& [asked, pool] : {std::pair{"dev", "train"}, {"train", "dev"}, {"test", "dev"}}) {
    const auto data = read_choice_data(*find_choice_task("arc-easy"), directory.path(), asked, 5);
    ASSERT_TRUE(data) << data.error().message;
    EXPECT_EQ(data->questions[0].question, asked);
    EXPECT_EQ(data->pool[0].question, pool);
  }
}

TEST(ReadChoiceData, AsksTheTestBeforeTheValidation) {
  const test::TemporaryDirectory directory;
  const std::string line = R"({"question": "q", "choices": ["a"], "answer": 0})";
  directory.write("boolq_validation.jsonl", line + "\n" + line);
  EXPECT_EQ(read_choice_data(*find_choice_task("boolq"), directory.path(), "", 0)->questions.size(),
            2u);
  directory.write("boolq_test.jsonl", line);
  EXPECT_EQ(read_choice_data(*find_choice_task("boolq"), directory.path(), "", 0)->questions.size(),
            1u);
}

TEST(ReadChoiceData, ChoicesAreAsManyAsThereAreLetters) {
  const test::TemporaryDirectory directory;
  nlohmann::json question = {{"question", "q"}, {"answer", 0}};
  question["choices"] = std::vector<std::string>(26, "x");
  const std::string path = directory.write("questions.jsonl", question.dump());
  EXPECT_TRUE(read_choice_questions(path));
  question["choices"].push_back("x");
  directory.write("questions.jsonl", question.dump());
  const auto refused = read_choice_questions(path);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("1 to 26, found 27"), std::string::npos);
}

TEST(ReadChoiceData, NamesWhatIsMissingOrWrong) {
  const auto refusal = [](const std::string& directory, const char* task, const char* split,
                          int32_t shots) {
    const auto data = read_choice_data(*find_choice_task(task), directory, split, shots);
    return data.ok() ? "" : data.error().message;
  };
  EXPECT_NE(refusal(kChoiceData, "piqa", "", 0).find("piqa_test.jsonl"), std::string::npos);
  EXPECT_NE(refusal(kChoiceData, "copa", "", 5).find("--shots 0"), std::string::npos);
  EXPECT_NE(refusal(kChoiceData, "mmlu", "dev", 5).find("--shots 0"), std::string::npos)
      << "questions must not be their own shots";
  const test::TemporaryDirectory directory;
  const std::string line = R"({"question": "q", "choices": ["a", "b"], "answer": 0})";
  directory.write("copa_test.jsonl", line + "\n\n" + R"({"question": "q", "choices": ["a"]})");
  EXPECT_NE(refusal(directory.path(), "copa", "", 0).find("copa_test.jsonl:3: "),
            std::string::npos);
  directory.write("copa_test.jsonl", R"({"question": "q", "choices": ["a"], "answer": 1})");
  EXPECT_NE(refusal(directory.path(), "copa", "", 0).find("'answer'"), std::string::npos);
  directory.write("copa_test.jsonl", line);
  EXPECT_NE(refusal(directory.path(), "copa", "", 0).find("question 1: expected a \"subject\""),
            std::string::npos);
  directory.write("boolq_test.jsonl", line);  // whose header names none
  EXPECT_EQ(refusal(directory.path(), "boolq", "", 0), "");
}

}  // namespace
}  // namespace unmask
