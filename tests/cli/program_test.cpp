#include "tests/cli/program.h"

#include <string>

#include <gtest/gtest.h>

namespace unmask::test {
namespace {

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

TEST(Program, OutputThatCannotBeWrittenIsAFailure) {
  const Outcome nowhere =
      run_shell("( " + std::string(UNMASK_BINARY) + " schedule --config " + UNMASK_SOURCE_DIR +
                "/configs/block-diffusion.toml >/dev/full )");
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_NE(nowhere.output.find("unmask: "), std::string::npos) << nowhere.output;
  EXPECT_NE(nowhere.output.find("No space left on device"), std::string::npos) << nowhere.output;
}

}  // namespace
}  // namespace unmask::test
