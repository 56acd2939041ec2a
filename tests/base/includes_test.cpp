// The arrows of docs/architecture.md: which folder may include which.
#include <filesystem>
#include <fstream>
#include <map>
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
    {"experiment",
     {"base", "routing", "text", "model", "checkpoint", "diffusion", "evaluate", "report",
      "train"}},
    {"cli",
     {"base", "kernels", "routing", "text", "model", "checkpoint", "diffusion", "evaluate",
      "report", "train", "experiment"}},
};

TEST(Includes, FollowTheArrows) {
  const std::filesystem::path root = std::filesystem::path(UNMASK_SOURCE_DIR) / "src" / "unmask";
  const std::string include = "#include \"unmask/";
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".h" && extension != ".cpp") continue;
    const std::string folder = entry.path().lexically_relative(root).begin()->string();
    ASSERT_TRUE(kMayInclude.contains(folder)) << folder << " is no folder of the architecture";
    ++files;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      if (!line.starts_with(include)) continue;
      const std::string other =
          line.substr(include.size(), line.find('/', include.size()) - include.size());
      EXPECT_TRUE(other == folder || kMayInclude.at(folder).contains(other))
          << entry.path() << " includes " << other;
    }
  }
  EXPECT_GT(files, 100);
}

}  // namespace
}  // namespace unmask
