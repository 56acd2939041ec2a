#include "unmask/train/config.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "unmask/base/document.h"
#include "unmask/routing/router.h"

namespace unmask {
namespace {

Result<TrainConfig> read(const std::string& toml) {
  auto document = parse_toml(toml, "test.toml");
  EXPECT_TRUE(document.ok());
  return train_config_from_json(document.value(), "test.toml");
}

std::string refusal(const std::string& toml) {
  auto config = read(toml);
  if (!config) {
    EXPECT_EQ(config.error().kind, Error::Kind::usage);
    return config.error().message;
  }
  auto tokenizer = Tokenizer::load("byte");
  const Status status = adopt_tokenizer(*tokenizer.value(), config.value());
  return status ? "" : status.error().message;
}

const std::string kData = "[data]\npaths = ['a.txt']\n";

TEST(TrainConfig, ReadsWhatStandsThere) {
  const auto config = read(kData + R"(
[model]
hidden = 96
heads = 3
experts = 16
[routing]
policy = "expert-choice"
experts_per_token = 2
[training]
steps = 500
batch = 3
accumulation = 4
precision = "f32"
[optimizer]
learning_rate = 1e-3
)");
  ASSERT_TRUE(config.ok()) << config.error().message;
  const TrainConfig& c = config.value();
  EXPECT_EQ(c.model.head_dim, 32);
  EXPECT_EQ(c.model.kv_heads, 3);
  EXPECT_EQ(c.model.routing.policy, RoutingPolicy::Selection::expert_choice);
  EXPECT_EQ(c.options.precision, Precision::f32);
  EXPECT_EQ(c.step_sequences(), 12);
  EXPECT_EQ(c.learning_rate.steps, 500);
  EXPECT_FLOAT_EQ(c.learning_rate.floor, 1e-4f);
}

TEST(TrainConfig, NamesTheMistake) {
  const auto says = [](const std::string& toml, const std::string& words) {
    const std::string message = refusal(toml);
    EXPECT_NE(message.find(words), std::string::npos) << "\"" << message << "\" lacks " << words;
  };
  says("", "data");
  says("[data]\n", "data.paths");
  says(kData + "[model]\nhiden = 3\n", "'hidden'");
  says(kData + "[model]\nhidden = 100\nheads = 3\n", "model.heads");
  says(kData + "[model]\nhidden = 'wide'\n", "model.hidden");
  says(kData + "[routing]\nexperts_per_token = 64\n", "experts_per_token");
  says(kData + "[routing]\npolicy = 'expert-choise'\n", "expert-choice");
  says(kData + "[training]\nsteps = 0\n", "training.steps");
  says(kData + "[training]\nprecision = 'fp16'\n", "precision");
  says(kData + "[objective]\nkind = 'elbow'\n", "elbo");
  says(kData + "[data2]\n", "data");
  says(kData + "[model]\nheads = 4\nkv_heads = 3\n", "kv_heads");
}

// Every configuration that comes with the project describes a run that can be.
TEST(TrainConfig, ReadsTheConfigurationsOfTheProject) {
  const auto directory = std::filesystem::path(UNMASK_SOURCE_DIR) / "configs";
  int read = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path().string());
    const auto document = read_layered_toml_file(entry.path().string());
    ASSERT_TRUE(document.ok()) << document.error().message;
    const auto config = train_config_from_json(*document, entry.path().string());
    ASSERT_TRUE(config.ok()) << config.error().message;
    const ModelConfig& model = config->model;
    const auto router = make_router(model.routing, model.experts, model.shared_experts);
    if (document->contains("name")) {  // else the base of others
      EXPECT_TRUE(router.ok()) << router.error().message;
    }
    ++read;
  }
  EXPECT_GT(read, 5);
}

}  // namespace
}  // namespace unmask
