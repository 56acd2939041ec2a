#include "tests/cli/program.h"
#include "tests/support/temporary_directory.h"
#include <filesystem>

#include <gtest/gtest.h>

namespace unmask {
namespace {

using test::Outcome;
using test::run_unmask;
using test::TemporaryDirectory;

TEST(Tokenize, PrintsIdsAndTexts) {
  EXPECT_EQ(run_unmask("tokenize --tokenizer byte --text 'h\u00e9'").output, "104 195 169\n");
  EXPECT_EQ(run_unmask("tokenize --tokenizer byte --decode '104, 195 169 256'").output,
            "h\u00e9<|mask|>\n");
}

TEST(Tokenize, WritesADatasetWithATokenizerItTrained) {
  const TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 300; ++i) text += "the whale number " + std::to_string(i) + " swam\n";
  const std::string input = directory.write("text.txt", text);
  const std::string model = directory.path("words.model");
  const Outcome training =
      run_unmask("tokenize --train-sentencepiece --vocab-size 300 --out " + model + " " + input);
  ASSERT_EQ(training.exit_code, 0) << training.output;
  const std::string prefix = directory.path("data");
  const Outcome writing =
      run_unmask("tokenize --tokenizer " + model + " --out " + prefix + " " + input);
  ASSERT_EQ(writing.exit_code, 0) << writing.output;
  EXPECT_NE(writing.output.find("1 documents"), std::string::npos) << writing.output;
  EXPECT_TRUE(std::filesystem::exists(prefix + ".idx"));
  EXPECT_LT(std::filesystem::file_size(prefix + ".bin"), text.size());
}

TEST(Tokenize, ExitCodesTellUsageFromFailure) {
  const TemporaryDirectory directory;
  EXPECT_EQ(run_unmask("tokenize").exit_code, 2);
  EXPECT_EQ(run_unmask("tokenize --tokenizer byte --decode '1 x'").exit_code, 2);
  EXPECT_EQ(run_unmask("tokenize --tokenizer byte --decode 258").exit_code, 2);
  EXPECT_EQ(run_unmask("tokenize --tokenizer byte --decode=-1").exit_code, 2);
  EXPECT_EQ(run_unmask("tokenize --tokenizer byte --no-such-flag").exit_code, 2);
  EXPECT_EQ(run_unmask("tokenize --tokenizer /missing.json --text a").exit_code, 1);
  const Outcome missing =
      run_unmask("tokenize --tokenizer byte /missing.txt --out " + directory.path("data"));
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_NE(missing.output.find("/missing.txt"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path())) << "nothing is left behind";
  const Outcome empty = run_unmask("tokenize --tokenizer byte " + directory.write("empty.txt", "") +
                                   " --out " + directory.path("data"));
  EXPECT_EQ(empty.exit_code, 1);
  EXPECT_NE(empty.output.find("only empty files"), std::string::npos) << empty.output;
  EXPECT_FALSE(std::filesystem::exists(directory.path("data.bin")));
}

}  // namespace
}  // namespace unmask
