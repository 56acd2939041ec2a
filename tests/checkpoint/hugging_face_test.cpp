#include "unmask/checkpoint/hugging_face.h"

#include "tests/support/golden.h"
#include "tests/support/temporary_directory.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/bf16.h"
#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/model_config_json.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using test::TemporaryDirectory;

ModelConfig small_checkpoint(Family family = Family::unmask) {
  ModelConfig config;
  config.family = family;
  config.vocab_size = 19;
  config.layers = 3;
  config.hidden = 20;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 6;
  config.dense_layers = 1;
  config.dense_ffn = 24;
  config.experts = 4;
  config.expert_ffn = 7;
  config.shared_ffn = 13;
  config.shared_experts = 2;
  config.routing.experts_per_token = 3;
  config.mask_token = 18;
  config.expert_bias = true;
  config.qkv_bias = true;
  config.linear_bias = true;
  return config;
}

// Every element another number, so that a swap shows.
void number(const Parameters& parameters) {
  float next = 1;
  for (const ParameterInfo& info : parameters.layout().table) {
    for (float& value : parameters.flat().subspan(static_cast<size_t>(info.offset),
                                                  static_cast<size_t>(info.size()))) {
      value = next;
      next += 1;
    }
  }
}

bool same_bits(const Parameters& a, const Parameters& b) {
  return std::memcmp(a.flat().data(), b.flat().data(), a.flat().size_bytes()) == 0;
}

using TensorMap = std::map<std::string, std::pair<TensorSpec, std::vector<float>>>;

TensorMap read_tensors(const std::string& directory) {
  const auto archive = Safetensors::open_directory(directory);
  EXPECT_TRUE(archive.ok()) << (archive.ok() ? "" : archive.error().message);
  TensorMap tensors;
  for (const Tensor& tensor : archive->tensors()) {
    auto& [spec, values] = tensors[tensor.name];
    spec = {tensor.name, tensor.dtype, tensor.shape};
    values.resize(static_cast<size_t>(tensor.elements()));
    EXPECT_TRUE(archive->read(tensor, std::span<float>(values)).ok());
  }
  return tensors;
}

void write_tensors(const std::string& directory, const TensorMap& tensors) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) specs.push_back(tensor.first);
  auto writer = SafetensorsWriter::create(directory + "/model.safetensors", specs);
  ASSERT_TRUE(writer.ok());
  for (const auto& [name, tensor] : tensors) ASSERT_TRUE(writer->append(tensor.second).ok());
  ASSERT_TRUE(writer->finish().ok());
}

class HuggingFaceTest : public testing::Test {
 protected:
  void save(const ModelConfig& config, const SaveOptions& options = {}) {
    config_ = config;
    layout_ = ParameterLayout(config);
    saved_ = Parameters(layout_);
    number(saved_);
    const Status status = save_model(directory_.path(), config, saved_, options);
    ASSERT_TRUE(status.ok()) << status.error().message;
  }
  Status load() {
    loaded_ = Parameters(layout_);
    return load_parameters(directory_.path(), config_, loaded_);
  }
  void expect_load() {
    const Status status = load();
    EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message);
    EXPECT_TRUE(same_bits(saved_, loaded_));
  }
  // Rewrites the weights after a change to them.
  void change(const std::function<void(TensorMap&)>& edit) {
    TensorMap tensors = read_tensors(directory_.path());
    edit(tensors);
    write_tensors(directory_.path(), tensors);
  }
  void expect_refused(const std::vector<std::string>& words) {
    const Status status = load();
    ASSERT_FALSE(status.ok()) << words[0];
    for (const std::string& word : words) {
      EXPECT_NE(status.error().message.find(word), std::string::npos)
          << word << " not in: " << status.error().message;
    }
  }

  TemporaryDirectory directory_;
  ModelConfig config_;
  ParameterLayout layout_;
  Parameters saved_;
  Parameters loaded_;
};

TEST_F(HuggingFaceTest, RoundTripIsBitExactInEveryFamily) {
  for (const Family family :
       {Family::unmask, Family::llada2, Family::llada_moe, Family::sdar_moe}) {
    for (const bool tied : {false, true}) {
      ModelConfig config = small_checkpoint(family);
      config.tied_head = tied;
      save(config);
      const auto read = load_model_config(directory_.path());
      ASSERT_TRUE(read.ok()) << read.error().message;
      EXPECT_EQ(*read, config);
      expect_load();
    }
  }
}

TEST_F(HuggingFaceTest, NamesTensorsAsTheFamilyDoes) {
  save(small_checkpoint(Family::llada2));
  TensorMap tensors = read_tensors(directory_.path());
  const auto shape = [&](const std::string& name) { return tensors.at(name).first.shape; };
  EXPECT_EQ(shape("model.word_embeddings.weight"), (std::vector<int64_t>{19, 20}));
  EXPECT_EQ(shape("model.layers.0.mlp.gate_proj.weight"), (std::vector<int64_t>{24, 20}));
  EXPECT_EQ(shape("model.layers.1.attention.query_key_value.weight"),
            (std::vector<int64_t>{48, 20}));
  EXPECT_EQ(shape("model.layers.1.attention.query_key_value.bias"), (std::vector<int64_t>{48}));
  EXPECT_EQ(shape("model.layers.1.attention.query_layernorm.weight"), (std::vector<int64_t>{6}));
  EXPECT_EQ(shape("model.layers.2.mlp.experts.3.down_proj.weight"), (std::vector<int64_t>{20, 7}));
  EXPECT_EQ(shape("model.layers.2.mlp.gate.weight"), (std::vector<int64_t>{4, 20}));
  EXPECT_EQ(shape("model.layers.2.mlp.gate.expert_bias"), (std::vector<int64_t>{4}));
  EXPECT_EQ(shape("model.layers.2.mlp.shared_experts.up_proj.weight"),
            (std::vector<int64_t>{13, 20}));

  save(small_checkpoint(Family::llada_moe));
  tensors = read_tensors(directory_.path());
  EXPECT_EQ(shape("model.embed_tokens.weight"), (std::vector<int64_t>{19, 20}));
  EXPECT_EQ(shape("model.layers.1.self_attn.q_proj.weight"), (std::vector<int64_t>{24, 20}));
  EXPECT_EQ(shape("model.layers.1.self_attn.v_proj.bias"), (std::vector<int64_t>{12}));
  EXPECT_EQ(shape("model.layers.1.self_attn.k_norm.weight"), (std::vector<int64_t>{6}));
  const Matrix qkv = saved_[layout_.layers[1].qkv];
  EXPECT_EQ(tensors.at("model.layers.1.self_attn.k_proj.weight").second[0], qkv(24, 0));
  EXPECT_EQ(tensors.at("model.layers.1.self_attn.v_proj.weight").second[0], qkv(36, 0));
}

TEST_F(HuggingFaceTest, KeepsShardsWithinTheirLimit) {
  save(small_checkpoint(), {.shard_bytes = 6000});
  EXPECT_FALSE(fs::exists(directory_.path("model.safetensors")));
  const auto archive = Safetensors::open_directory(directory_.path());
  ASSERT_TRUE(archive.ok()) << archive.error().message;
  std::map<size_t, size_t> bytes;
  for (const Tensor& tensor : archive->tensors()) bytes[tensor.file] += tensor.bytes.size();
  EXPECT_GT(bytes.size(), 2u);
  size_t sum = 0;
  for (const auto& [file, total] : bytes) {
    EXPECT_LE(total, 6000u);
    sum += total;
  }
  const auto index = read_json_file(directory_.path("model.safetensors.index.json"));
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(index->at("metadata").at("total_size"), sum);
  expect_load();
}

TEST_F(HuggingFaceTest, ReadsAnyMixOfSplitAndMergedExperts) {
  save(small_checkpoint());
  change([](TensorMap& tensors) {
    for (const char* name : {"1.mlp.experts.gate_proj", "2.mlp.experts.down_proj"}) {
      const std::string merged = std::string("model.layers.") + name;
      const size_t cut = merged.rfind('.');
      std::pair<TensorSpec, std::vector<float>> all;
      for (int e = 0; e < 4; ++e) {
        const std::string split =
            fmt::format("{}.{}{}.weight", merged.substr(0, cut), e, merged.substr(cut));
        const auto part = tensors.extract(split).mapped();
        all.first = {merged, DType::f32, {4, part.first.shape[0], part.first.shape[1]}};
        all.second.insert(all.second.end(), part.second.begin(), part.second.end());
      }
      tensors[merged] = all;
    }
  });
  expect_load();
}

// Takes the projections of every expert of layers 1 and 2 for one tensor a layer, one expert after
// the other.
void fuse(TensorMap& tensors, const std::vector<const char*>& projections, const char* name) {
  for (const int layer : {1, 2}) {
    const std::string mlp = fmt::format("model.layers.{}.mlp.", layer);
    std::pair<TensorSpec, std::vector<float>>& all = tensors[mlp + name];
    all.first = {mlp + name, DType::f32, {4, 0, 0}};
    for (int e = 0; e < 4; ++e) {
      for (const char* projection : projections) {
        const auto part =
            tensors.extract(fmt::format("{}experts.{}.{}.weight", mlp, e, projection)).mapped();
        if (e == 0) all.first.shape[1] += part.first.shape[0];
        all.first.shape[2] = part.first.shape[1];
        all.second.insert(all.second.end(), part.second.begin(), part.second.end());
      }
    }
  }
}

TEST_F(HuggingFaceTest, ReadsExpertsWhoseGatesAndUpsAreOneTensor) {
  for (const auto& [family, gate_up, down] :
       {std::tuple(Family::llada_moe, "w1", "w2"),
        std::tuple(Family::sdar_moe, "experts.gate_up_proj", "experts.down_proj"),
        std::tuple(Family::llada2, "experts.gate_up_proj", "experts.down_proj")}) {
    ModelConfig config = small_checkpoint(family);
    if (family != Family::llada2) config.shared_ffn = config.shared_experts = 0;
    save(config);
    change([&](TensorMap& tensors) {
      fuse(tensors, {"gate_proj", "up_proj"}, gate_up);
      fuse(tensors, {"down_proj"}, down);
    });
    expect_load();
    change([&](TensorMap& tensors) {
      auto& tensor = tensors.at(std::string("model.layers.2.mlp.") + gate_up);
      tensor.first.shape = {4, 20, 14};
    });
    expect_refused({gate_up, "expected shape [4, 14, 20], found [4, 20, 14]"});
  }
}

TEST_F(HuggingFaceTest, LeavesOutTheValueHeadOfReinforcementLearning) {
  save(small_checkpoint());
  change([](TensorMap& tensors) {
    tensors["v_head.summary.weight"] = {{"v_head.summary.weight", DType::f32, {1}}, {1}};
  });
  expect_load();
}

TEST_F(HuggingFaceTest, NamesEveryTensorThatDoesNotFit) {
  save(small_checkpoint());
  change([](TensorMap& tensors) {
    tensors.erase("model.norm.weight");
    tensors.erase("model.layers.2.mlp.experts.1.up_proj.weight");
    auto& bias = tensors.at("model.layers.1.mlp.gate.expert_bias");
    bias.first.shape = {2, 2};
    auto& gate = tensors.at("model.layers.1.mlp.gate.weight");
    tensors["model.layers.7.mlp.gate.weight"] = gate;
    tensors["model.layers.7.mlp.gate.weight"].first.name = "model.layers.7.mlp.gate.weight";
    tensors["model.rotary_emb.inv_freq"] = {{"model.rotary_emb.inv_freq", DType::f32, {1}}, {1}};
  });
  expect_refused({"\"model.norm.weight\": missing, expected [20]",
                  "\"model.layers.2.mlp.experts.1.up_proj.weight\": missing, expected [7, 20]",
                  "\"model.layers.1.mlp.gate.expert_bias\": expected shape [4], found [2, 2]",
                  "\"model.layers.7.mlp.gate.weight\": unexpected", "model.safetensors"});
  EXPECT_EQ(load().error().message.find("inv_freq"), std::string::npos);
}

TEST_F(HuggingFaceTest, AcceptsATiedHeadOnlyIfItIsTheEmbedding) {
  ModelConfig config = small_checkpoint();
  config.tied_head = true;
  save(config);
  change([](TensorMap& tensors) {
    auto head = tensors.at("model.word_embeddings.weight");
    head.first.name = "lm_head.weight";
    tensors["lm_head.weight"] = head;
  });
  expect_load();
  change([](TensorMap& tensors) {  // the same numbers, as another type has them too
    auto& embedding = tensors.at("model.word_embeddings.weight");
    for (float& value : embedding.second) value = std::fmod(value, 128.0f);
    tensors.at("lm_head.weight").second = embedding.second;
    embedding.first.dtype = DType::bf16;
  });
  EXPECT_TRUE(load().ok());
  change([](TensorMap& tensors) { tensors.at("lm_head.weight").second[3] += 1; });
  expect_refused({"lm_head.weight", "tie_word_embeddings"});
}

TEST_F(HuggingFaceTest, AcceptsASelectionBiasThatTheConfigurationLacksOnlyIfItIsZero) {
  ModelConfig config = small_checkpoint(Family::llada2);
  config.linear_bias = false;
  config.expert_bias = false;
  save(config);
  change([&](TensorMap& tensors) {
    const std::string name = "model.layers.1.mlp.gate.expert_bias";
    const std::vector<float> zeros(static_cast<size_t>(config.experts));
    tensors[name] = {{name, DType::f32, {config.experts}}, zeros};
  });
  expect_load();
  change(
      [](TensorMap& tensors) { tensors.at("model.layers.1.mlp.gate.expert_bias").second[3] = 1; });
  expect_refused({"expert_bias", "not zero"});
}

TEST_F(HuggingFaceTest, RefusesAConfigurationLargerThanItsWeights) {
  save(small_checkpoint());
  ModelConfig larger = small_checkpoint();
  larger.experts = 1 << 14;
  larger.hidden = 1 << 16;
  ASSERT_TRUE(
      write_file_atomically(directory_.path("config.json"), to_text(model_config_to_json(larger)))
          .ok());
  auto config = load_model_config(directory_.path());
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().message.find("word_embeddings.weight"), std::string::npos);
  EXPECT_NE(config.error().message.find("expected shape [19, 65536], found [19, 20]"),
            std::string::npos)
      << config.error().message;

  larger.layers = 100;  // more tensors than anybody would read the names of
  ASSERT_TRUE(
      write_file_atomically(directory_.path("config.json"), to_text(model_config_to_json(larger)))
          .ok());
  config = load_model_config(directory_.path());
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().message.find("parameters, the files"), std::string::npos);
}

TEST_F(HuggingFaceTest, NamesWhatIsMissing) {
  save(small_checkpoint());
  change([](TensorMap& tensors) { tensors.erase("model.norm.weight"); });
  const auto config = load_model_config(directory_.path());
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().message.find("\"model.norm.weight\": missing"), std::string::npos)
      << config.error().message;
}

TEST_F(HuggingFaceTest, TextEndsAtTheTokensOfGenerationConfigToo) {
  save(small_checkpoint());
  const auto write = [&](const char* text) {
    ASSERT_TRUE(write_file_atomically(directory_.path("generation_config.json"), text).ok());
  };
  const auto ends = [&](int32_t token) {
    const auto config = load_model_config(directory_.path());
    EXPECT_TRUE(config.ok()) << config.error().message;
    return config.ok() && config->ends(token);
  };
  const int32_t own = config_.end_token;
  EXPECT_FALSE(ends(4) || ends(5));
  write(R"({"eos_token_id": [4, 5]})");
  EXPECT_TRUE(ends(own) && ends(4) && ends(5));
  EXPECT_EQ(load_model_config(directory_.path())->end_token, own) << "which joins documents";
  write(R"({"eos_token_id": 5, "temperature": 0.6})");
  EXPECT_TRUE(ends(own) && ends(5));
  EXPECT_FALSE(ends(4));
  write(R"({"eos_token_id": null})");
  EXPECT_TRUE(ends(own));
  write(R"({"eos_token_id": [4, 18]})");
  EXPECT_TRUE(ends(4));
  EXPECT_FALSE(ends(config_.mask_token));
  for (const char* wrong : {R"("</s>")", "[4, 19]", "-1"}) {
    write(fmt::format(R"({{"eos_token_id": {}}})", wrong).c_str());
    const auto config = load_model_config(directory_.path());
    ASSERT_FALSE(config.ok()) << wrong;
    EXPECT_NE(config.error().message.find("generation_config.json"), std::string::npos)
        << config.error().message;
  }
}

TEST_F(HuggingFaceTest, RefusesNumbersThatAreNotFinite) {
  for (const char* name : {"lm_head.weight", "model.layers.1.mlp.gate.weight",
                           "model.layers.2.mlp.gate.expert_bias"}) {
    save(small_checkpoint());
    change([&](TensorMap& tensors) { tensors.at(name).second[2] = std::nanf(""); });
    expect_refused({name, "element 2", "expected a finite number"});
  }
}

TEST_F(HuggingFaceTest, NamesAMissingFile) {
  const auto config = load_model_config(directory_.path());
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().message.find("config.json"), std::string::npos);
}

TEST_F(HuggingFaceTest, ReportsAFullDisk) {
  config_ = small_checkpoint();
  layout_ = ParameterLayout(config_);
  saved_ = Parameters(layout_);
  fs::create_symlink("/dev/full", directory_.path("model.safetensors"));
  const Status status = save_model(directory_.path(), config_, saved_);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("No space left"), std::string::npos);
}

// Each tensor of the recorded checkpoints lies where the layout says.
TEST(HuggingFaceGolden, LoadsTheRecordedCheckpoints) {
  for (const char* name : {"D_model_tiny16", "D_model_tiny32"}) {
    const std::string directory = test::golden_directory() + "/" + name;
    const auto config = load_model_config(directory);
    ASSERT_TRUE(config.ok()) << config.error().message;
    const ParameterLayout layout(*config);
    const Parameters parameters(layout);
    const Status status = load_parameters(directory, *config, parameters);
    ASSERT_TRUE(status.ok()) << status.error().message;

    const TensorMap tensors = read_tensors(directory);
    size_t compared = 0;
    const auto compare = [&](const std::string& tensor, int parameter, int64_t first_row) {
      ASSERT_GE(parameter, 0) << tensor;
      const std::vector<float>& values = tensors.at(tensor).second;
      const Matrix m = parameters[parameter];
      ASSERT_LE(first_row * m.cols + std::ssize(values), m.size()) << tensor;
      EXPECT_TRUE(std::equal(values.begin(), values.end(), m.row(first_row))) << tensor;
      ++compared;
    };
    compare("model.word_embeddings.weight", layout.embedding, 0);
    compare("model.norm.weight", layout.final_norm, 0);
    compare("lm_head.weight", layout.head, 0);
    for (int i = 0; i < config->layers; ++i) {
      const ParameterLayout::Layer& layer = layout.layers[static_cast<size_t>(i)];
      const std::string prefix = fmt::format("model.layers.{}.", i);
      compare(prefix + "input_layernorm.weight", layer.attention_norm, 0);
      compare(prefix + "post_attention_layernorm.weight", layer.ffn_norm, 0);
      compare(prefix + "attention.query_key_value.weight", layer.qkv, 0);
      compare(prefix + "attention.query_layernorm.weight", layer.q_norm, 0);
      compare(prefix + "attention.key_layernorm.weight", layer.k_norm, 0);
      compare(prefix + "attention.dense.weight", layer.attention_out, 0);
      const std::string shared = prefix + (config->is_dense(i) ? "mlp." : "mlp.shared_experts.");
      compare(shared + "gate_proj.weight", layer.shared_gate, 0);
      compare(shared + "up_proj.weight", layer.shared_up, 0);
      compare(shared + "down_proj.weight", layer.shared_down, 0);
      if (config->is_dense(i)) continue;
      compare(prefix + "mlp.gate.weight", layer.router, 0);
      compare(prefix + "mlp.gate.expert_bias", layer.expert_bias, 0);
      for (int e = 0; e < config->experts; ++e) {
        const std::string expert = fmt::format("{}mlp.experts.{}.", prefix, e);
        compare(expert + "gate_proj.weight", layer.expert_gate, int64_t{e} * config->expert_ffn);
        compare(expert + "up_proj.weight", layer.expert_up, int64_t{e} * config->expert_ffn);
        compare(expert + "down_proj.weight", layer.expert_down, int64_t{e} * config->hidden);
      }
    }
    EXPECT_EQ(compared, tensors.size());
  }
}

}  // namespace
}  // namespace unmask
