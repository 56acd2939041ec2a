#include "unmask/train/run_record.h"

#include "tests/support/temporary_directory.h"
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace unmask {
namespace {

TEST(CheckRecord, OnlyWhatDecidesNothingMayChange) {
  const test::TemporaryDirectory directory;
  const nlohmann::json before = {{"name", "a"},
                                 {"data", {{"paths", {"a.txt"}}}},
                                 {"training", {{"steps", 5}, {"log_every", 1}}}};
  ASSERT_TRUE(write_record(directory.path(), before).ok());
  nlohmann::json now = before;
  now["name"] = "b";
  now["training"]["log_every"] = 10;
  now["evaluation"]["every"] = 3;
  now["checkpoint"]["keep"] = 2;
  const Status allowed = check_record(directory.path(), now, true);
  EXPECT_TRUE(allowed.ok()) << allowed.error().message;
  now["data"]["paths"].push_back("b.txt");
  const Status refused = check_record(directory.path(), now, true);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(
      refused.error().message.find(R"(with data.paths = ["a.txt"], now it is ["a.txt","b.txt"];)"),
      std::string::npos)
      << refused.error().message;
}

}  // namespace
}  // namespace unmask
