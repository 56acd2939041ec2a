#include "tests/cli/program.h"

#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace unmask::test {
namespace {

namespace fs = std::filesystem;

TEST(Program, NamesTheNearestCommand) {
  const Outcome outcome = run_unmask("generat x");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_NE(outcome.output.find("no command \"generat\": did you mean \"generate\"?"),
            std::string::npos)
      << outcome.output;
}

TEST(Program, NamesTheOptionThatIsMistyped) {
  for (const auto& [given, meant] : {std::pair("train --confg x", "\"--config\""),
                                     std::pair("generate x --temprature 1", "\"--temperature\"")}) {
    const Outcome outcome = run_unmask(given);
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_NE(outcome.output.find(meant), std::string::npos) << outcome.output;
  }
}

TEST(Program, SaysWhoComplainsOfTheCommandLine) {
  const Outcome outcome = run_unmask("bench moe --tokens many");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(outcome.output.starts_with("unmask: ")) << outcome.output;
  EXPECT_NE(outcome.output.find("--tokens"), std::string::npos) << outcome.output;
}

TEST(Program, NumbersAreDecimal) {
  const TemporaryDirectory directory;
  const std::string file = directory.path("examples.jsonl");
  const std::string task = "task addition --out " + file + " --count ";
  for (const char* count : {"''", "' 3'", "+3", "0x3", "1e1", "3x", "99999999999999999999"}) {
    expect_error(task + count, 2, "--count: expected a whole number, found \"");
  }
  for (const char* temperature : {"''", "nan", "inf", "1e999", "0.5x"}) {
    expect_error(std::string("generate x --temperature ") + temperature, 2,
                 "--temperature: expected a number, found \"");
  }
  ASSERT_EQ(run_unmask(task + "010").exit_code, 0);
  const std::string lines = slurp(file);
  EXPECT_EQ(std::ranges::count(lines, '\n'), 10);
}

TEST(Program, AnOutputTakesNoInputAway) {
  const TemporaryDirectory directory;
  const std::string policy = "policy = \"token-choice\"\n", text = "one two three four five six\n";
  const std::string metrics = R"({"kind":"train","step":1,"tokens":1,"seconds":1,"loss":1})"
                              "\n";
  directory.write("policy.toml", policy);
  directory.write("text.txt", text);
  fs::create_directories(directory.path("run"));
  directory.write("run/metrics.jsonl", metrics);
  directory.write("run/samples.jsonl", "");
  fs::create_symlink("text.txt", directory.path("link.txt"));
  const auto path = [&](const char* name) { return directory.path(name); };
  for (const std::string& command :
       {"schedule --policy " + path("policy.toml") + " --plot " + path("policy.toml"),
        "schedule --config " + path("policy.toml") + " --plot " + path("policy.toml"),
        "report " + path("run") + " --out " + path("run/metrics.jsonl"),
        "report " + path("run") + " --out " + path("run/samples.jsonl"),
        "tokenize --train-sentencepiece --vocab-size 30 --out " + path("link.txt") + " " +
            path("text.txt"),
        "task infill --count 1 --set text=" + path("text.txt") + " --out " + path("text.txt")}) {
    const Outcome outcome = run_unmask(command);
    EXPECT_EQ(outcome.exit_code, 2) << command << "\n" << outcome.output;
    EXPECT_NE(outcome.output.find("another file than the input"), std::string::npos)
        << outcome.output;
  }
  EXPECT_EQ(slurp(path("policy.toml")), policy);
  EXPECT_EQ(slurp(path("text.txt")), text);
  EXPECT_EQ(slurp(path("run/metrics.jsonl")), metrics);
}

TEST(Program, OutputThatCannotBeWrittenIsAFailure) {
  const Outcome nowhere =
      run_shell("( " + std::string(UNMASK_BINARY) + " schedule --config " + UNMASK_SOURCE_DIR +
                "/configs/block-diffusion.toml >/dev/full )");
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_NE(nowhere.output.find("unmask: "), std::string::npos) << nowhere.output;
  EXPECT_NE(nowhere.output.find("No space left on device"), std::string::npos) << nowhere.output;
}

TEST(Program, ReportsEachRunOnceAndFewOfItsProblems) {
  const TemporaryDirectory directory;
  fs::create_directories(directory.path("run"));
  std::string metrics = "{\"kind\":\"train\",\"step\":1}\n";
  for (int i = 0; i < 8; ++i) metrics += "nonsense\n";
  directory.write("run/metrics.jsonl", metrics);
  const std::string run = directory.path("run");
  const Outcome outcome = run_unmask("report --text " + run);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("3 more lines skipped"), std::string::npos) << outcome.output;
  expect_error("report --text " + run + " " + run + "/.", 2, "each run once");
}

TEST(Program, ExperimentsAreListedUpToTheFirstMistake) {
  const TemporaryDirectory directory;
  for (const std::string name : {"a", "b"}) {
    fs::create_directories(directory.path("experiments/" + name));
    directory.write("experiments/" + name + "/experiment.toml", "titel = 'x'\n");
  }
  const Outcome outcome =
      run_shell("cd " + directory.path() + " && " + UNMASK_BINARY + " experiment list");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_NE(outcome.output.find("experiments/a/"), std::string::npos) << outcome.output;
  expect_error("experiment run a --side-by-side -1", 2, "expected 0 or more");
}

}  // namespace
}  // namespace unmask::test
