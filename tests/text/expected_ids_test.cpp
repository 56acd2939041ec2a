#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/text/tokenizer.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".expected_ids.jsonl";

fs::path tokenizer_directory() {
  const char* chosen = std::getenv("UNMASK_TOKENIZER_DIR");
  return chosen != nullptr ? chosen : UNMASK_SOURCE_DIR "/tests/data/tokenizers";
}

// Compares every line of one recording of another implementation; returns how many there were.
int check_recording(const fs::path& recording) {
  const std::string name = recording.filename().string();
  const std::string stem = name.substr(0, name.size() - kSuffix.size());
  const auto tokenizer =
      Tokenizer::load((recording.parent_path() / (stem + ".tokenizer.json")).string());
  if (!tokenizer) {
    ADD_FAILURE() << tokenizer.error().message;
    return 0;
  }
  std::ifstream file(recording);
  int lines = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    ++lines;
    const auto expected = json_in(line);
    const auto text = expected.at("text").get<std::string>();
    const auto ids = expected.at("ids").get<std::vector<int32_t>>();
    const auto encoded = tokenizer.value()->encode(text);
    if (!encoded) {
      ADD_FAILURE() << stem << " line " << lines << ": " << encoded.error().message;
      continue;
    }
    EXPECT_EQ(encoded.value(), ids) << stem << " line " << lines << ": " << text;
    EXPECT_EQ(tokenizer.value()->decode(ids), expected.at("decoded").get<std::string>())
        << stem << " line " << lines;
  }
  return lines;
}

TEST(ExpectedIds, EveryRecordingAgrees) {
  int recordings = 0;
  ASSERT_TRUE(fs::is_directory(tokenizer_directory())) << tokenizer_directory();
  for (const auto& entry : fs::directory_iterator(tokenizer_directory())) {
    if (!entry.path().filename().string().ends_with(kSuffix)) continue;
    const int lines = check_recording(entry.path());
    fmt::print("{}: {} lines\n", entry.path().filename().string(), lines);
    EXPECT_GT(lines, 0) << entry.path();
    ++recordings;
  }
  EXPECT_GT(recordings, 0) << "no *" << kSuffix << " in " << tokenizer_directory();
}

}  // namespace
}  // namespace unmask
