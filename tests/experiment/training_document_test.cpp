#include "unmask/experiment/training_document.h"

#include "tests/support/temporary_directory.h"
#include <string>

#include <gtest/gtest.h>

namespace unmask {
namespace {

class TrainingDocument : public testing::Test {
 protected:
  TrainingDocument() {
    experiment_.directory = directory_.path();
    experiment_.data = {{.name = "sums", .task = "addition"}};
  }
  Result<nlohmann::json> read(const std::string& text, const nlohmann::json& settings,
                              const std::string& kind = "train") {
    directory_.write("a.toml", text);
    const StageSpec stage = {
        .name = kind,
        .kind = kind,
        .keys = {{"what", "a.toml"}, {"set", settings}, {"data", "sums"}},
    };
    const StagePlace place = {.experiment = experiment_,
                              .directory = directory_.path("stage"),
                              .data = directory_.path("data"),
                              .model = "model",
                              .seed = 7};
    return training_document(stage, place);
  }
  test::TemporaryDirectory directory_;
  ExperimentSpec experiment_;
};

TEST_F(TrainingDocument, SaysWhereAStageRuns) {
  const auto trained = read("name = 'x'\n", nlohmann::json::array());
  ASSERT_TRUE(trained) << trained.error().message;
  EXPECT_EQ((*trained)["data"]["paths"][0], directory_.path("data") + "/sums.jsonl");
  EXPECT_EQ((*trained)["training"]["seed"], 7);
  EXPECT_EQ((*trained)["training"]["from"], "model");
  const auto distilled = read("name = 'x'\n", nlohmann::json::array(), "distill");
  ASSERT_TRUE(distilled) << distilled.error().message;
  EXPECT_EQ((*distilled)["distill"]["prompts"][0], directory_.path("data") + "/sums.jsonl");
  EXPECT_FALSE(distilled->contains("data"));
}

TEST_F(TrainingDocument, RefusesWhatIsNoTable) {
  for (const std::string key : {"data", "training", "distill"}) {
    for (const std::string kind : {"train", "distill"}) {
      for (const auto& document :
           {read("name = 'x'\n", {key + "=3"}, kind), read(key + " = 3\n", {"name=x"}, kind)}) {
        ASSERT_FALSE(document) << key;
        EXPECT_EQ(document.error().kind, Error::Kind::usage);
        EXPECT_NE(document.error().message.find("'" + key + "': expected a table, found 3"),
                  std::string::npos)
            << document.error().message;
      }
    }
  }
}

TEST_F(TrainingDocument, ADistillationReadsItsOwnTargets) {
  const auto distilled =
      read("[data]\npaths = ['a.txt']\nsequence_length = 8\n", nlohmann::json::array(), "distill");
  ASSERT_TRUE(distilled) << distilled.error().message;
  EXPECT_EQ((*distilled)["data"], (nlohmann::json{{"sequence_length", 8}}));
}

TEST_F(TrainingDocument, SettingsOfDistillationsAreForThem) {
  experiment_.settings = {"distill.count=3", "training.steps=2"};
  const auto trained = read("name = 'x'\n", nlohmann::json::array());
  ASSERT_TRUE(trained) << trained.error().message;
  EXPECT_FALSE(trained->contains("distill"));
  EXPECT_EQ((*trained)["training"]["steps"], 2);
  const auto distilled = read("name = 'x'\n", nlohmann::json::array(), "distill");
  EXPECT_EQ((*distilled)["distill"]["count"], 3);
}

}  // namespace
}  // namespace unmask
