#include "tests/cli/program.h"
#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace unmask::test {
namespace {

const std::string kModel = std::string(UNMASK_SOURCE_DIR) + "/tests/data/golden/D_model_tiny16";

void expect_error(const std::string& arguments, int exit_code, const std::string& part) {
  const Outcome outcome = run_unmask(arguments);
  EXPECT_EQ(outcome.exit_code, exit_code) << arguments << "\n" << outcome.output;
  EXPECT_NE(outcome.output.find(part), std::string::npos) << arguments << "\n" << outcome.output;
}

TEST(GenerateCommand, ContinuesTokenIds) {
  const Outcome once = run_unmask("generate " + kModel + " --tokens 1,2,3 --length 8 --ignore-end");
  EXPECT_EQ(once.exit_code, 0) << once.output;
  EXPECT_EQ(once.output.rfind("1,2,3,", 0), 0u) << once.output;
  EXPECT_EQ(std::count(once.output.begin(), once.output.end(), ','), 10);
  const Outcome json = run_unmask("generate " + kModel + " --tokens '1 2 3' --length 8 --json");
  EXPECT_NE(json.output.find("\"prompt_tokens\":3"), std::string::npos) << json.output;
}

TEST(GenerateCommand, WatchesStepByStepWithoutATerminal) {
  const Outcome outcome = run_unmask("generate " + kModel +
                                     " --tokens 1,2 --length 8 --block-length 32 --steps 8 "
                                     "--ignore-end --watch");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("step 1: 4 committed, 4 masked"), std::string::npos)
      << outcome.output;
}

TEST(GenerateCommand, RefusesBadInput) {
  expect_error("generate /nowhere --tokens 1", 1, "expected a checkpoint");
  expect_error("generate " + kModel + " --prompt hello", 1, "tokenizer");
  expect_error("generate " + kModel + " --tokens 1,x", 2, "expected ids");
  expect_error("generate " + kModel + " --tokens 100000", 2, "vocabulary");
  expect_error("generate " + kModel + " --tokens 1 --length 100000", 2, "positions");
  expect_error("generate " + kModel + " --tokens 1 --length 510 --block-length 5", 2, "blocks of");
  expect_error("generate " + kModel + " --tokens 1 --sampler best", 2, "quota, threshold");
  expect_error("generate " + kModel + " --tokens 1 --steps 0", 2, "steps");
  expect_error("generate " + kModel + " --tokens 1 --prompt x", 2, "at most 1");
  expect_error("generate", 2, "CHECKPOINT");
}

TEST(EvaluateCommand, RefusesBadInput) {
  expect_error("evaluate /nowhere --data x", 1, "expected a checkpoint");
  expect_error("evaluate " + kModel + " --data x --precision f8", 2, "f32 or bf16");
  expect_error("evaluate " + kModel + " --data x --length -4", 2, "0 or more");
}

}  // namespace
}  // namespace unmask::test
