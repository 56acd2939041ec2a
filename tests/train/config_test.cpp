#include "unmask/train/config.h"

#include "tests/support/temporary_directory.h"
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "unmask/base/document.h"
#include "unmask/checkpoint/hugging_face.h"
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

class FromCheckpoint : public testing::Test {
 protected:
  FromCheckpoint() : path_(directory_.path("model")) {
    std::filesystem::create_directories(path_);
    ModelConfig config;
    config.vocab_size = 300;  // more than the tokenizer has
    config.mask_token = 256;
    config.end_token = config.pad_token = 257;
    config.layers = 3;
    config.kv_heads = 2;
    config.max_positions = 100;
    config.shared_ffn = 0;
    config.shared_experts = 0;
    config.family = Family::llada_moe;
    config.attention_block = 32;
    config.routing.experts_per_token = 5;
    const ParameterLayout layout(config);
    const Parameters parameters(layout);
    EXPECT_TRUE(save_model(path_, config, parameters).ok());
    EXPECT_TRUE((*Tokenizer::load("byte"))->save(path_).ok());
  }
  std::string toml(const std::string& more) const {
    return "[training]\nfrom = '" + path_ + "'\n" + more;
  }
  test::TemporaryDirectory directory_;
  std::string path_;
};

const std::string kShort = "[data]\npaths = ['a.txt']\nsequence_length = 64\n";

TEST_F(FromCheckpoint, TheCheckpointSaysWhatTheModelIs) {
  auto config = read(toml("trainable = 'router'\n" + kShort + "[model]\nheads = 4\n"));
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->model.layers, 3);
  EXPECT_EQ(config->model.kv_heads, 2);
  EXPECT_EQ(config->model.family, Family::llada_moe);
  EXPECT_EQ(config->model.routing.experts_per_token, 5);
  EXPECT_EQ(config->model.attention_block, 0) << "the objective masks the whole sequence";
  EXPECT_EQ(config->data.tokenizer, path_);
  EXPECT_EQ(config->trainable, Trainable::router);
  const auto tokenizer = Tokenizer::load(config->data.tokenizer);
  const Status adopted = adopt_tokenizer(**tokenizer, *config);
  EXPECT_TRUE(adopted.ok()) << adopted.error().message;
  EXPECT_EQ(config->model.vocab_size, 300);

  config = read(toml(kShort + "[routing]\npolicy = 'expert-choice'\nexperts_per_token = 4\n"
                              "[objective]\nkind = 'block'\nblock_size = 16\n"));
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->model.routing.policy, RoutingPolicy::Selection::expert_choice);
  EXPECT_EQ(config->model.attention_block, 16);
}

TEST_F(FromCheckpoint, NamesContradictions) {
  const auto says = [](const std::string& toml, const std::string& words) {
    const std::string message = refusal(toml);
    EXPECT_NE(message.find(words), std::string::npos) << "\"" << message << "\" lacks " << words;
  };
  says(toml(kShort + "[model]\nlayers = 4\n"), "'model.layers': expected 3");
  says(toml(kShort + "[model]\nexpert_bias = true\n"), "'model.expert_bias': expected false");
  says(toml("[data]\npaths = ['a.txt']\nsequence_length = 128\n"), "at most 100");
  says(toml(kShort + "[routing]\nexperts_per_token = 40\n"), "experts_per_token");
  says(toml("trainable = 'routers'\n" + kShort), "router+experts");
  says("[training]\nfrom = 3\n" + kShort, "training.from");
  const auto none = read("[training]\nfrom = '/nonexistent'\n" + kShort);
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("/nonexistent"), std::string::npos);

  auto config = read(toml(kShort));
  ASSERT_TRUE(config.ok());
  config->model.mask_token = 3;  // of another tokenizer
  const Status other = adopt_tokenizer(**Tokenizer::load("byte"), *config);
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message.find("mask token 3"), std::string::npos);
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
