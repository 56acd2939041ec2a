#include "unmask/train/samples.h"

#include "tests/support/temporary_directory.h"
#include <string>

#include <gtest/gtest.h>

#include "unmask/base/files.h"

namespace unmask {
namespace {

TEST(DropSamplesAfter, KeepsEarlierOnesAndDropsDamagedLines) {
  const test::TemporaryDirectory directory;
  const std::string first = R"({"step":1,"prompt":"","text":"a"})"
                            "\n",
                    second = R"({"step":2,"text":"b"})"
                             "\n";
  const std::string damaged = R"({"step":"x","text":"y"})"
                              "\n"
                              R"({"step":null})"
                              "\n"
                              R"({"step":[1]})"
                              "\n"
                              R"({"text":"y"})"
                              "\n[1]\n{\"ste\n";
  const std::string path = directory.write(
      "samples.jsonl", first + damaged + second + R"({"step":3,"text":"c"})" + "\n");
  drop_samples_after(directory.path(), 2);
  EXPECT_EQ(*read_file(path), first + second);
}

}  // namespace
}  // namespace unmask
