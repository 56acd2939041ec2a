#include "unmask/checkpoint/model_file.h"

#include "tests/support/numeric.h"
#include "tests/support/temporary_directory.h"
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/checkpoint_source.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/model_config_json.h"
#include "unmask/checkpoint/model_file_writer.h"
#include "unmask/kernels/reference/quantized.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using test::TemporaryDirectory;

// Sizes that fill neither tiles nor groups.
ModelConfig uneven_model(Family family = Family::llada2) {
  ModelConfig config;
  config.family = family;
  config.vocab_size = 75;
  config.layers = 3;
  config.hidden = 41;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 6;
  config.dense_layers = 1;
  config.dense_ffn = 70;
  config.experts = 4;
  config.expert_ffn = 33;
  config.shared_ffn = 13;
  config.routing.experts_per_token = 3;
  config.mask_token = 74;
  config.expert_bias = true;
  config.qkv_bias = true;
  config.linear_bias = true;
  return config;
}

PackedFormat format_of(WeightFormat format) {
  return packed_format(format, format == WeightFormat::bf16 ? 0 : 32).value();
}

bool is_mapped(const ModelFile& file, const void* address) {
  const auto mapping = file.archive().file_of(file.archive().tensors()[0]).bytes();
  return address >= mapping.data() && address < mapping.data() + mapping.size();
}

void must(const Status& status) {
  ASSERT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message);
}

void expect_words(const Status& status, const std::vector<std::string>& words) {
  ASSERT_FALSE(status.ok()) << words[0];
  for (const std::string& word : words) {
    EXPECT_NE(status.error().message.find(word), std::string::npos)
        << word << " not in: " << status.error().message;
  }
}

Status open_status(const std::string& directory) {
  const auto file = ModelFile::open(directory);
  return file.ok() ? Status() : Status(file.error());
}

// The matrix that a product sees, against what `quantize` makes of the parameter's rows.
void expect_packed(const QuantizedMatrix& found, ConstMatrix w, const std::string& name) {
  ASSERT_EQ(found.shape.rows, w.rows) << name;
  ASSERT_EQ(found.shape.cols, w.cols) << name;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(found.data) % 64, 0u) << name;
  const Buffer bytes(static_cast<size_t>(found.shape.bytes()));
  const QuantizedMatrix expected = matrix_at(found.shape, bytes.data());
  quantize(found.shape, w, bytes.data(), const_cast<bf16*>(expected.scales));
  EXPECT_EQ(std::memcmp(found.data, bytes.data(), bytes.size()), 0) << name;
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.cols; ++j) {
      ASSERT_EQ(reference::weight(found, i, j), reference::weight(expected, i, j)) << name;
    }
  }
  // And that is the weight, within half a level or a rounding.
  float largest = 0;
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.cols; ++j) largest = std::max(largest, std::abs(w(i, j)));
  }
  const float levels = found.shape.format == WeightFormat::int4 ? 14 : 254;
  const float tolerance = largest * (1 / levels + 0x1p-8f);
  for (int64_t i = 0; i < w.rows; ++i) {
    ASSERT_NEAR(reference::weight(found, i, w.cols - 1), w(i, w.cols - 1), tolerance) << name;
  }
}

void expect_plain(ConstMatrix found, ConstMatrix expected, const std::string& name) {
  ASSERT_EQ(found.rows, expected.rows) << name;
  ASSERT_EQ(found.cols, expected.cols) << name;
  EXPECT_EQ(
      std::memcmp(found.data, expected.data, static_cast<size_t>(expected.size()) * sizeof(float)),
      0)
      << name;
}

// Every weight of a packed model against the parameters it was made from.
void expect_model(const ModelFile& file, const Parameters& p) {
  const ModelWeights weights = file.weights();
  const ParameterLayout& layout = p.layout();
  const auto plain = [&](ConstMatrix found, int parameter) {
    if (parameter < 0) {
      EXPECT_TRUE(found.empty());
      return;
    }
    expect_plain(found, p[parameter], layout.table[static_cast<size_t>(parameter)].name);
  };
  const auto packed = [&](const Weight& found, int parameter) {
    expect_packed(std::get<QuantizedMatrix>(found), p[parameter],
                  layout.table[static_cast<size_t>(parameter)].name);
  };
  const auto& embedding = std::get<View<const bf16>>(weights.embedding);
  const ConstMatrix table = p[layout.embedding];
  ASSERT_EQ(embedding.size(), table.size());
  for (int64_t i = 0; i < table.size(); ++i) {
    ASSERT_EQ(static_cast<float>(embedding.data[i]), round_to_bf16(table.data[i]));
  }
  packed(weights.head, layout.head);
  plain(weights.final_norm, layout.final_norm);
  ASSERT_EQ(weights.layers.size(), layout.layers.size());
  for (size_t i = 0; i < layout.layers.size(); ++i) {
    const ParameterLayout::Layer& index = layout.layers[i];
    const auto& [attention, moe] = weights.layers[i];
    plain(attention.norm, index.attention_norm);
    packed(attention.qkv, index.qkv);
    plain(attention.qkv_bias, index.qkv_bias);
    plain(attention.q_norm, index.q_norm);
    plain(attention.k_norm, index.k_norm);
    packed(attention.out, index.attention_out);
    plain(attention.out_bias, index.attention_out_bias);
    plain(moe.norm, index.ffn_norm);
    plain(moe.router, index.router);
    plain(moe.expert_bias, index.expert_bias);
    if (index.shared_gate >= 0) {
      const auto& one = std::get<QuantizedFeedForward>(moe.shared);
      expect_packed(one.form.gate_of(one.record), p[index.shared_gate], "shared gate");
      expect_packed(one.form.up_of(one.record), p[index.shared_up], "shared up");
      expect_packed(one.form.down_of(one.record), p[index.shared_down], "shared down");
    }
    if (index.expert_gate < 0) continue;
    const auto& experts = std::get<QuantizedExperts>(moe.experts);
    const int64_t ffn = file.config().expert_ffn, hidden = file.config().hidden;
    ASSERT_EQ(std::ssize(experts.records), file.config().experts);
    for (int64_t e = 0; e < file.config().experts; ++e) {
      expect_packed(experts.gate(e), p[index.expert_gate].row_range(e * ffn, ffn), "gate");
      expect_packed(experts.up(e), p[index.expert_up].row_range(e * ffn, ffn), "up");
      expect_packed(experts.down(e), p[index.expert_down].row_range(e * hidden, hidden), "down");
    }
  }
}

class ModelFileTest : public testing::Test {
 protected:
  // A checkpoint in "checkpoint", and its packed form in "packed".
  void make(const ModelConfig& config, WeightFormat format, const SaveOptions& options = {}) {
    fs::create_directories(checkpoint());
    must(save_model(checkpoint(), RandomParameters(config, 5, 0.5f), options));
    pack(format);
  }
  void pack(WeightFormat format) {
    fs::create_directories(packed());
    const auto config = load_model_config(checkpoint());
    ASSERT_TRUE(config.ok()) << config.error().message;
    const auto source = CheckpointSource::open(checkpoint(), *config);
    ASSERT_TRUE(source.ok()) << source.error().message;
    must(write_model_file(packed(), *source, format_of(format)));
  }
  std::string checkpoint() const { return directory_.path("checkpoint"); }
  std::string packed() const { return directory_.path("packed"); }
  std::string weights_path() const { return packed() + "/packed.safetensors"; }

  std::string bytes() const { return read_file(weights_path()).value(); }
  void write(const std::string& bytes) const { must(write_file_atomically(weights_path(), bytes)); }
  // Rewrites the JSON header, in the room that it has.
  void change_header(const std::function<void(nlohmann::json&)>& edit) const {
    std::string file = bytes();
    uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    auto header = json_in(file.substr(8, length));
    edit(header);
    std::string text = to_text(header);
    ASSERT_LE(text.size(), length);
    text.resize(length, ' ');
    file.replace(8, length, text);
    write(file);
  }

  TemporaryDirectory directory_;
};

TEST_F(ModelFileTest, HoldsWhatQuantizeMakesOfEveryParameter) {
  for (const WeightFormat format : kWeightFormats) {
    for (const Family family : {Family::llada2, Family::llada_moe}) {
      for (const bool tied : {false, true}) {
        ModelConfig config = uneven_model(family);
        config.tied_head = tied;
        if (family == Family::llada_moe) config.shared_ffn = config.shared_experts = 0;
        make(config, format);
        auto file = ModelFile::open(packed());
        ASSERT_TRUE(file.ok()) << file.error().message;
        EXPECT_EQ(file->config(), config);
        EXPECT_EQ(file->format(), format_of(format));
        const ParameterLayout layout(config);
        const Parameters loaded(layout);
        must(load_parameters(checkpoint(), config, loaded));
        expect_model(*file, loaded);
        must(file->verify());
        must(file->load());
        EXPECT_FALSE(is_mapped(*file, file->weights().final_norm.data));
        expect_model(*file, loaded);
      }
    }
  }
}

TEST_F(ModelFileTest, IsTheSameWhateverTheCheckpointLooksLike) {
  make(uneven_model(), WeightFormat::int4);
  const std::string once = bytes();
  {
    const ThreadCount one(1);
    pack(WeightFormat::int4);
    EXPECT_EQ(bytes(), once) << "threads";
  }
  fs::remove_all(checkpoint());
  make(uneven_model(), WeightFormat::int4, {.shard_bytes = 9000});
  ASSERT_TRUE(fs::exists(checkpoint() + "/model.safetensors.index.json"));
  EXPECT_EQ(bytes(), once) << "sharded";

  // Merged: the experts of a layer as one tensor.
  fs::remove_all(checkpoint());
  make(uneven_model(), WeightFormat::int4);
  const auto archive = Safetensors::open_directory(checkpoint());
  ASSERT_TRUE(archive.ok());
  std::vector<TensorSpec> specs;
  std::vector<std::vector<float>> values;
  for (const Tensor& tensor : archive->tensors()) {
    if (tensor.name.find(".experts.") == std::string::npos) {
      specs.push_back({tensor.name, DType::f32, tensor.shape});
      values.emplace_back(static_cast<size_t>(tensor.elements()));
      must(archive->read(tensor, std::span<float>(values.back())));
    }
  }
  for (const char* layer : {"1", "2"}) {
    for (const char* part : {"gate_proj", "up_proj", "down_proj"}) {
      std::vector<float> merged;
      std::vector<int64_t> shape = {4};
      for (int e = 0; e < 4; ++e) {
        const Tensor* tensor =
            archive->find(fmt::format("model.layers.{}.mlp.experts.{}.{}.weight", layer, e, part));
        ASSERT_NE(tensor, nullptr);
        if (e == 0) shape.insert(shape.end(), tensor->shape.begin(), tensor->shape.end());
        std::vector<float> one(static_cast<size_t>(tensor->elements()));
        must(archive->read(*tensor, std::span<float>(one)));
        merged.insert(merged.end(), one.begin(), one.end());
      }
      specs.push_back(
          {fmt::format("model.layers.{}.mlp.experts.{}", layer, part), DType::f32, shape});
      values.push_back(std::move(merged));
    }
  }
  auto writer = SafetensorsWriter::create(checkpoint() + "/merged", specs);
  ASSERT_TRUE(writer.ok());
  for (const auto& tensor : values) must(writer->append(std::span<const float>(tensor)));
  must(writer->finish());
  fs::rename(checkpoint() + "/merged", checkpoint() + "/model.safetensors");
  pack(WeightFormat::int4);
  EXPECT_EQ(bytes(), once) << "merged";
}

TEST_F(ModelFileTest, PacksARandomModelAsItsCheckpoint) {
  make(uneven_model(), WeightFormat::int8);
  const std::string through_checkpoint = bytes();
  must(write_model_file(packed(), RandomParameters(uneven_model(), 5, 0.5f),
                        format_of(WeightFormat::int8)));
  EXPECT_EQ(bytes(), through_checkpoint);
}

// Matrices that take several batches, in pieces, of which the last is no whole one.
TEST_F(ModelFileTest, PacksMatricesLargerThanItsBuffers) {
  ModelConfig config = uneven_model();
  config.vocab_size = 70003;
  config.hidden = 160;
  config.layers = 1;
  config.mask_token = 70002;
  for (const WeightFormat format : {WeightFormat::bf16, WeightFormat::int8}) {
    make(config, format);
    auto file = ModelFile::open(packed());
    ASSERT_TRUE(file.ok()) << file.error().message;
    const ModelWeights weights = file->weights();
    ASSERT_GT(std::get<QuantizedMatrix>(weights.head).shape.bytes(), 10 << 20);
    const ParameterLayout layout(config);
    const Parameters loaded(layout);
    must(load_parameters(checkpoint(), config, loaded));
    expect_model(*file, loaded);
    must(file->verify());
    must(file->load());
    expect_model(*file, loaded);
  }
}

TEST_F(ModelFileTest, BeginsItsDataOnAPage) {
  make(uneven_model(), WeightFormat::int8);
  uint64_t length = 0;
  std::memcpy(&length, bytes().data(), 8);
  EXPECT_EQ((8 + length) % 4096, 0u);
}

TEST_F(ModelFileTest, IsNotMadeOfACheckpointThatChangesMeanwhile) {
  make(uneven_model(), WeightFormat::int8);
  const auto config = load_model_config(checkpoint());
  const auto source = CheckpointSource::open(checkpoint(), *config);
  ASSERT_TRUE(source.ok()) << source.error().message;
  const ReportBytes touch = [&](int64_t) -> Status {
    fs::last_write_time(checkpoint() + "/model.safetensors", fs::file_time_type());
    return {};
  };
  const Status status = write_model_file(packed(), *source, format_of(WeightFormat::int8), touch);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("model.safetensors"), std::string::npos)
      << status.error().message;
  const Parameters parameters(source->layout());
  EXPECT_FALSE(load_parameters(*source, parameters).ok());
}

// A header that is 8 bytes longer, as other software may write it.
TEST_F(ModelFileTest, RefusesDataThatDoesNotLieOnWholeLines) {
  make(uneven_model(), WeightFormat::int8);
  std::string file = bytes();
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  file.insert(8 + length, 8, ' ');
  length += 8;
  std::memcpy(file.data(), &length, 8);
  write(file);
  const auto opened = ModelFile::open(packed());
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.error().message.find("expected to lie on 64 bytes"), std::string::npos)
      << opened.error().message;
}

TEST_F(ModelFileTest, FindsADamagedByteByTheNameOfItsTensor) {
  make(uneven_model(), WeightFormat::int8);
  const std::string whole = bytes();
  const auto file = ModelFile::open(packed());
  ASSERT_TRUE(file.ok());
  const auto begin = [&](const char* name) {
    const Tensor* tensor = file->archive().find(name);
    return static_cast<size_t>(tensor->bytes.data() - file->archive().tensors()[0].bytes.data()) +
           whole.size() -
           static_cast<size_t>(file->archive().tensors().back().bytes.data() +
                               file->archive().tensors().back().bytes.size() -
                               file->archive().tensors()[0].bytes.data());
  };
  for (const char* name : {"layers.1.experts", "embedding", "layers.2.router", "head"}) {
    std::string damaged = whole;
    damaged[begin(name) + 7] ^= 16;
    write(damaged);
    const auto opened = ModelFile::open(packed());
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    expect_words(opened->verify(), {"packed.safetensors", "\"" + std::string(name) + "\""});
  }
}

TEST_F(ModelFileTest, NoticesAFileThatChangesUnderneath) {
  make(uneven_model(), WeightFormat::int8);
  auto file = ModelFile::open(packed());
  ASSERT_TRUE(file.ok());
  must(file->intact());
  must(file->limit_expert_memory(1 << 20));
  fs::resize_file(weights_path(), 4096);
  expect_words(file->intact(), {"packed.safetensors", "changed while it was in use"});
  std::vector<int32_t> begin(static_cast<size_t>(uneven_model().experts) + 1, 1);
  begin[0] = 0;
  const auto& cached = std::get<CachedExperts>(file->weights().layers.back().moe.experts);
  cached.cache->acquire(cached.layer, begin);
  expect_words(file->intact(), {"packed.safetensors", "shorter"});
}

TEST_F(ModelFileTest, LoadsAllButExpertsThatGoThroughACache) {
  make(uneven_model(), WeightFormat::int8);
  auto file = ModelFile::open(packed());
  ASSERT_TRUE(file.ok());
  must(file->limit_expert_memory(1 << 20));
  EXPECT_TRUE(is_mapped(*file, file->weights().final_norm.data));
  must(file->load());
  EXPECT_FALSE(is_mapped(*file, file->weights().final_norm.data));
  EXPECT_TRUE(std::holds_alternative<CachedExperts>(file->weights().layers.back().moe.experts));
}

TEST_F(ModelFileTest, AFileThatBecameShorterIsNotLoaded) {
  make(uneven_model(), WeightFormat::int8);
  auto file = ModelFile::open(packed());
  ASSERT_TRUE(file.ok());
  fs::resize_file(weights_path(), fs::file_size(weights_path()) / 2);
  expect_words(file->load(), {"packed.safetensors", "shorter"});
}

TEST_F(ModelFileTest, AFileThatIsReplacedStaysAsItWasMapped) {
  make(uneven_model(), WeightFormat::int8);
  const auto file = ModelFile::open(packed());
  ASSERT_TRUE(file.ok());
  write("something else");
  must(file->intact());
}

TEST_F(ModelFileTest, RefusesATruncatedFile) {
  make(uneven_model(), WeightFormat::int8);
  const std::string whole = bytes();
  for (const size_t size :
       {size_t{0}, size_t{5}, size_t{300}, whole.size() / 2, whole.size() - 1}) {
    write(whole.substr(0, size));
    expect_words(open_status(packed()), {"packed.safetensors"});
  }
}

TEST_F(ModelFileTest, NamesTheFieldOfTheHeaderThatDoesNotFit) {
  make(uneven_model(), WeightFormat::int4);
  const std::string whole = bytes();
  const auto expect = [&](const std::function<void(nlohmann::json&)>& edit,
                          const std::vector<std::string>& words) {
    change_header(edit);
    expect_words(open_status(packed()), words);
    write(whole);
  };
  const auto set = [](const char* key, const char* value) {
    return [=](nlohmann::json& header) { header["__metadata__"][key] = value; };
  };
  expect(set("unmask.packed", "2"), {"\"unmask.packed\"", "expected 1", "found \"2\""});
  expect(set("experts", "int3"), {"\"experts\"", "bf16, int8 or int4", "int3"});
  expect(set("experts.group", "48"), {"\"experts.group\"", "multiple of 32", "48"});
  expect(set("dense.group", "99999999999"), {"\"dense.group\"", "multiple of 32"});
  expect(set("dense", "bf16"), {"\"dense.group\"", "expected 0"});
  expect(set("experts.group", "64"), {"\"layers.1.experts\"", "expected U8 [4, ", "found U8 [4, "});
  expect([](nlohmann::json& header) { header["__metadata__"].erase("dense"); },
         {"\"dense\"", "missing"});
  expect([](nlohmann::json& header) { header.erase("__metadata__"); },
         {"\"unmask.packed\"", "missing"});
  expect(
      [](nlohmann::json& header) {
        header["layers.7.router"] = header["layers.1.router"];
        header.erase("layers.1.router");
      },
      {"\"layers.1.router\": missing, expected F32 [4, 41]", "\"layers.7.router\": unexpected"});
}

TEST_F(ModelFileTest, RefusesAConfigurationOfAnotherModel) {
  make(uneven_model(), WeightFormat::int8);
  const auto with = [&](const std::function<void(ModelConfig&)>& change) {
    ModelConfig other = uneven_model();
    change(other);
    must(write_file_atomically(packed() + "/config.json", to_text(model_config_to_json(other))));
    return open_status(packed());
  };
  expect_words(with([](ModelConfig& c) { c.experts = 5; }),
               {"does not fit config.json", "\"layers.1.experts\"", "[5, ", "[4, "});
  expect_words(with([](ModelConfig& c) { c.layers = 4; }), {"\"layers.3.experts\": missing"});
  expect_words(with([](ModelConfig& c) { c.dense_layers = 0; }),
               {"\"layers.0.experts\": missing", "\"layers.0.dense\": unexpected"});
  expect_words(with([](ModelConfig& c) {
                 c.experts = 1 << 14;
                 c.hidden = 1 << 16;
                 c.layers = 1 << 10;
               }),
               {"missing", "more"});
  fs::remove(packed() + "/config.json");
  expect_words(open_status(packed()), {"config.json"});
}

TEST_F(ModelFileTest, RefusesWeightsThatAreNotFiniteByTheirPlace) {
  const ModelConfig config = uneven_model();
  const ParameterLayout layout(config);
  for (const float bad : {NAN, INFINITY}) {
    const Parameters parameters(layout);
    initialize(parameters, 1);
    parameters[layout.layers[2].expert_up](33 * 3 + 1, 2) = bad;  // expert 3
    fs::create_directories(checkpoint());
    fs::create_directories(packed());
    must(save_model(checkpoint(), config, parameters));
    const auto source = CheckpointSource::open(checkpoint(), config);
    ASSERT_TRUE(source.ok()) << source.error().message;
    expect_words(write_model_file(packed(), *source, format_of(WeightFormat::int8)),
                 {"model.safetensors", "\"model.layers.2.mlp.experts.3.up_proj.weight\"",
                  "element 43", "finite"});
    EXPECT_FALSE(fs::exists(weights_path()));
  }
}

// Finite as they are stored, but not in bf16, which only some tensors of a packed model are in.
TEST_F(ModelFileTest, RefusesWeightsBeyondBf16ByTheirPlace) {
  const ModelConfig config = uneven_model();
  const ParameterLayout layout(config);
  for (const int parameter : {layout.layers[2].expert_up, layout.embedding}) {
    const Parameters parameters(layout);
    initialize(parameters, 1);
    fs::create_directories(checkpoint());
    fs::create_directories(packed());
    const auto pack_with = [&](float weight, WeightFormat format) {
      parameters[parameter](1, 2) = weight;
      must(save_model(checkpoint(), config, parameters));
      const auto source = CheckpointSource::open(checkpoint(), config);
      UNMASK_CHECK(source.ok());
      return write_model_file(packed(), *source, format_of(format));
    };
    must(pack_with(0x1.fep127f, WeightFormat::bf16));
    fs::remove(weights_path());
    expect_words(pack_with(-3.4e38f, WeightFormat::bf16), {"element 43", "beyond", "bf16"});
    EXPECT_FALSE(fs::exists(weights_path()));
    EXPECT_EQ(pack_with(3.4e38f, WeightFormat::int8).ok(), parameter != layout.embedding);
  }
}

TEST_F(ModelFileTest, AModelWithoutExpertsHasNoneToHoldBack) {
  ModelConfig config = uneven_model();
  config.dense_layers = config.layers;
  make(config, WeightFormat::int8);
  auto file = ModelFile::open(packed());
  ASSERT_TRUE(file.ok()) << file.error().message;
  expect_words(file->limit_expert_memory(1 << 20), {"expert memory", "no experts"});
}

TEST_F(ModelFileTest, ReportsAFullDisk) {
  fs::create_directories(packed());
  fs::create_symlink("/dev/full", weights_path());
  expect_words(write_model_file(packed(), RandomParameters(uneven_model(), 1),
                                format_of(WeightFormat::int8)),
               {"packed.safetensors", "No space left"});
  EXPECT_FALSE(fs::is_symlink(weights_path()));
}

int64_t memory_kilobytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return std::stoll(line.substr(field.size() + 1));
  }
  return -1;
}

// Memory of the process, mapped files included, at its highest during the conversion.
TEST_F(ModelFileTest, ConvertsInLessMemoryThanOneTensor) {
  ModelConfig config = uneven_model();
  config.vocab_size = 100000;
  config.hidden = 256;
  config.dense_ffn = 40000;
  config.mask_token = 99999;
  fs::create_directories(checkpoint());
  fs::create_directories(packed());
  must(save_model(checkpoint(), RandomParameters(config, 1)));
  const auto source = CheckpointSource::open(checkpoint(), config);
  ASSERT_TRUE(source.ok()) << source.error().message;
  const int64_t tensor = int64_t{4} * config.vocab_size * config.hidden / 1024;
  for (const WeightFormat format : kWeightFormats) {
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
    const int64_t before = memory_kilobytes("VmRSS:");
    must(write_model_file(packed(), *source, format_of(format)));
    const int64_t peak = memory_kilobytes("VmHWM:");
    ASSERT_GT(before, 0);
    EXPECT_LT(peak - before, tensor) << name_of(format);
    RecordProperty(std::string(name_of(format)) + "_kilobytes", static_cast<int>(peak - before));
  }
}

}  // namespace
}  // namespace unmask
