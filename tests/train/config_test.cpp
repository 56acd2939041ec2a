#include "unmask/train/config.h"

#include "tests/support/temporary_directory.h"
#include <filesystem>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "unmask/base/document.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/routing/router.h"
#include "unmask/train/distill_config.h"

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

TEST(TrainConfig, TheTokenizerSaysWhatPads) {
  auto config = read(kData + "[objective]\nstratified = true\n");
  ASSERT_TRUE(config.ok());
  EXPECT_TRUE(config->objective.mask_ratio.stratified);
  EXPECT_FALSE(read(kData)->objective.mask_ratio.stratified);
  ASSERT_TRUE(adopt_tokenizer(**Tokenizer::load("byte"), *config).ok());
  EXPECT_EQ(config->model.pad_token, config->model.end_token);
}

TEST(TrainConfig, StepsDecideTheLearningRate) {
  auto config = read(kData + "[training]\nepochs = 2\n[optimizer]\nwarmup_share = 0.03\n");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->epochs, 2);
  set_steps(200, *config);
  EXPECT_EQ(config->steps, 200);
  EXPECT_EQ(config->learning_rate.steps, 200);
  EXPECT_EQ(config->learning_rate.warmup, 6);
  set_steps(250, *config);
  EXPECT_EQ(config->learning_rate.warmup, 8) << "7.5";
  config = read(kData + "[training]\nsteps = 300\n[optimizer]\nwarmup = 7\n");
  set_steps(200, *config);
  EXPECT_EQ(config->learning_rate.warmup, 7);
}

TEST(TrainConfig, NamesTheMistake) {
  const auto says = [](const std::string& toml, const std::string& words) {
    const std::string message = refusal(toml);
    EXPECT_NE(message.find(words), std::string::npos) << "\"" << message << "\" lacks " << words;
  };
  says("", "data");
  says("[data]\n", "data.paths");
  says("[data]\npaths = ['a.txt']\nsequence_length = 1\n", "'data.sequence_length'");
  for (const std::string name : {"", ".", "..", "a/b"}) {
    says("name = '" + name + "'\n" + kData, "'name'");
  }
  says(kData + "[model]\nhiden = 3\n", "'hidden'");
  says(kData + "[model]\nhidden = 100\nheads = 3\n", "model.heads");
  says(kData + "[model]\nhidden = 'wide'\n", "model.hidden");
  says(kData + "[routing]\nexperts_per_token = 64\n", "experts_per_token");
  says(kData + "[routing]\npolicy = 'expert-choise'\n", "expert-choice");
  says(kData + "[training]\nsteps = 0\n", "training.steps");
  says(kData + "[training]\nsteps = 5\nepochs = 2\n",
       "'training.epochs': expected this or 'steps'");
  says(kData + "[optimizer]\nwarmup = 5\nwarmup_share = 0.1\n", "'optimizer.warmup_share'");
  says(kData + "[objective]\nconfidence = -1\n", "objective.confidence");
  says(kData + "[training]\nprecision = 'fp16'\n", "precision");
  says(kData + "[objective]\nkind = 'elbow'\n", "elbo");
  says(kData + "[objective]\nmask_ratio_min = 0.9\nmask_ratio_max = 0.1\n", "[0.9, 0.1]");
  says(kData + "[objective]\nkind = 'block'\nmask_ratio_max = 0.2\n", "[0.3, 0.2]");
  says(kData + "[objective]\nkind = 'block'\ndocument_mask = true\n", "document mask");
  says(kData + "[evaluation]\nlevels = [0.5, 1.5]\n", "'evaluation.levels'");
  says(kData + "[evaluation]\nlevels = [-0.1]\n", "'evaluation.levels'");
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
  config = read(toml(kShort));
  config->model.end_token = 4;
  const Status end = adopt_tokenizer(**Tokenizer::load("byte"), *config);
  ASSERT_FALSE(end.ok());
  EXPECT_NE(end.error().message.find("end token 4"), std::string::npos);
}

class DistillConfiguration : public FromCheckpoint {
 protected:
  Result<DistillConfig> read(const std::string& toml) const {
    const auto document = parse_toml(toml, "test.toml");
    EXPECT_TRUE(document.ok());
    return distill_config_from_json(*document, "test.toml");
  }
  const std::string data_ = "[data]\nsequence_length = 64\n";
  const std::string distill_ = "[distill]\nprompts = ['p.jsonl']\n";
};

TEST_F(DistillConfiguration, HasTheSettingsOfThePaperForDefaults) {
  auto config = read(toml(data_ + distill_));
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->prompts, (std::vector<std::string>{"p.jsonl"}));
  EXPECT_EQ(config->targets.length, 64);
  EXPECT_EQ(config->targets.generate.steps, std::numeric_limits<int32_t>::max())
      << "the threshold alone decides";
  EXPECT_EQ(config->targets.generate.sampler.policy, "threshold");
  EXPECT_FLOAT_EQ(*config->targets.generate.sampler.threshold, 0.95f);
  EXPECT_EQ(config->targets.generate.temperature, 0);
  EXPECT_EQ(config->train.from, path_);

  config = read(toml(data_ + distill_ +
                     "count = 7\nlength = 20\nsteps = 5\nblock_length = 32\nthreshold = 0.5\n"
                     "temperature = 0.7\nbatch = 3\nseed = 9\n"));
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->count, 7);
  EXPECT_EQ(config->targets.length, 20);
  EXPECT_EQ(config->targets.batch, 3);
  EXPECT_EQ(config->targets.seed, 9u);
  EXPECT_EQ(config->targets.generate.steps, 5);
  EXPECT_EQ(config->targets.generate.block_length, 32);
  EXPECT_FLOAT_EQ(config->targets.generate.temperature, 0.7f);
  EXPECT_FLOAT_EQ(*config->targets.generate.sampler.threshold, 0.5f);
}

TEST_F(DistillConfiguration, NamesTheMistake) {
  const auto says = [&](const std::string& toml, const std::string& words) {
    const auto config = read(toml);
    ASSERT_FALSE(config.ok()) << words;
    EXPECT_EQ(config.error().kind, Error::Kind::usage);
    EXPECT_NE(config.error().message.find(words), std::string::npos) << config.error().message;
  };
  says(toml(data_), "expected a table 'distill'");
  says(toml(data_ + "[distill]\n"), "distill.prompts");
  says(toml(data_ + distill_ + "lenght = 3\n"), "length");
  says(toml(data_ + distill_ + "batch = 0\n"), "distill.batch");
  says(toml(data_ + "paths = ['a.txt']\n" + distill_), "data.paths");
  says(data_ + distill_, "training.from");
  says(toml("[data]\nsequence_length = 200\n" + distill_), "at most 100");
}

// Every configuration that comes with the project describes a run that can be.
TEST_F(DistillConfiguration, ReadsTheConfigurationsOfTheProject) {
  const auto directory = std::filesystem::path(UNMASK_SOURCE_DIR) / "configs";
  int read = 0, distillations = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path().string());
    auto document = read_layered_toml_file(entry.path().string());
    ASSERT_TRUE(document.ok()) << document.error().message;
    if (document->contains("distill")) {
      (*document)["training"]["from"] = path_;  // in place of a run that has not been made
      const auto config = distill_config_from_json(*document, entry.path().string());
      EXPECT_TRUE(config.ok()) << config.error().message;
      ++distillations;
      continue;
    }
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
  EXPECT_GT(distillations, 0);
}

}  // namespace
}  // namespace unmask
