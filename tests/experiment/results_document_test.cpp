#include "unmask/experiment/results_document.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "unmask/base/files.h"
#include "unmask/experiment/experiment.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

const std::string kRepository = UNMASK_SOURCE_DIR;

TEST(ResultsDocument, IsWhatTheCommittedResultsGive) {
  const auto generated = results_document(kRepository + "/experiments");
  ASSERT_TRUE(generated) << generated.error().message;
  const auto committed = read_file(kRepository + "/docs/results.md");
  ASSERT_TRUE(committed) << committed.error().message;
  EXPECT_EQ(*committed, *generated) << "run unmask experiment results";
}

TEST(ResultsDocument, HasEveryClaimAlsoWithoutResults) {
  const auto generated = results_document("/nonexistent");
  ASSERT_TRUE(generated);
  for (const Experiment& experiment : experiments()) {
    for (const Claim& claim : experiment.claims) {
      EXPECT_NE(generated->find(std::string("### ") + claim.text), std::string::npos) << claim.text;
    }
  }
  EXPECT_NE(generated->find("Not run yet."), std::string::npos);
}

TEST(Experiments, EveryOneHasAFileAndEveryFileAnExperiment) {
  const auto names = experiment_names(kRepository + "/experiments");
  EXPECT_EQ(names.size(), experiments().size());
  for (const std::string& name : names) EXPECT_NE(find_experiment(name), nullptr) << name;
}

TEST(Experiments, CommittedResultsAreSmall) {
  for (const Experiment& experiment : experiments()) {
    const auto path =
        kRepository + "/experiments/" + std::string(experiment.name) + "/results.json";
    if (!fs::exists(path)) continue;
    EXPECT_LT(fs::file_size(path), 250'000u) << path;
  }
}

}  // namespace
}  // namespace unmask
