#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"

namespace unmask {
namespace {

using nlohmann::json;
using test::expect_error;
using test::run_unmask;

TEST(TaskCommand, WritesConversations) {
  const test::TemporaryDirectory directory;
  const std::string file = directory.path("sudoku.jsonl");
  ASSERT_EQ(run_unmask("task sudoku --count 7 --seed 3 --set size=6 --out " + file).exit_code, 0);
  std::ifstream lines(file);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const json messages = json_in(line).at("messages");
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_EQ(messages[0].at("role"), "user");
    EXPECT_EQ(messages[0].at("content").get<std::string>().size(), 41u);
    EXPECT_EQ(messages[1].at("role"), "assistant");
  }
  EXPECT_EQ(count, 7);
  expect_error("task additon --out " + file, 2, "nearest: addition");
  expect_error("task addition --set digit=3 --out " + file, 2, "'digits'");
  expect_error("task addition --count 0 --out " + file, 2, "at least 1");
  expect_error("task addition --split all --out " + file, 2, "--split");
  expect_error("task addition --out /dev/null/file", 1, "/dev/null");
}

}  // namespace
}  // namespace unmask
