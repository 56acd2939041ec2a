// The arrows of docs/architecture.md: which folder may include which.
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace unmask {
namespace {

using Folders = std::set<std::string>;
const std::map<std::string, Folders> kMayInclude = {
    {"base", {}},
    {"kernels", {"base"}},
    {"routing", {"base", "kernels"}},
    {"text", {"base"}},
    {"model", {"base", "kernels", "routing"}},
    {"checkpoint", {"base", "kernels", "routing", "model"}},
    {"diffusion", {"base", "kernels", "routing", "model"}},
    {"evaluate", {"base", "kernels", "routing", "model", "diffusion", "text"}},
    {"report", {"base"}},
    {"train",
     {"base", "kernels", "routing", "text", "model", "checkpoint", "diffusion", "evaluate",
      "report"}},
    {"cli",
     {"base", "kernels", "routing", "text", "model", "checkpoint", "diffusion", "evaluate", "report",
      "train"}},
};

TEST(Includes, FollowTheArrows) {
  const std::filesystem::path root = std::filesystem::path(UNMASK_SOURCE_DIR) / "src" / "unmask";
  const std::regex include("^\\s*#include \"unmask/([a-z]+)/");
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".h" && extension != ".cpp") continue;
    const std::string folder = entry.path().lexically_relative(root).begin()->string();
    ASSERT_TRUE(kMayInclude.contains(folder)) << folder << " is no folder of the architecture";
    ++files;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (!std::regex_search(line, match, include) || match[1] == folder) continue;
      EXPECT_TRUE(kMayInclude.at(folder).contains(match[1]))
          << entry.path() << " includes " << match[1];
    }
  }
  EXPECT_GT(files, 100);
}

}  // namespace
}  // namespace unmask
