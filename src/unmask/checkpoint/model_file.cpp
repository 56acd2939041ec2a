#include "unmask/checkpoint/model_file.h"

#include <filesystem>
#include <unordered_set>
#include <utility>
#include <xxhash.h>

#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/base/parallel.h"
#include "unmask/checkpoint/model_config_json.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;

constexpr uintptr_t kPackedAlignment = 64;

// What the file must hold, against what it does.
std::vector<std::string> differences(const Safetensors& archive,
                                     const std::vector<PackedTensor>& expected) {
  std::vector<std::string> lines;
  std::unordered_set<std::string> names;
  const auto expect = [&](const TensorSpec& spec, uintptr_t alignment) {
    names.insert(spec.name);
    const Tensor* tensor = archive.find(spec.name);
    if (tensor == nullptr) {
      lines.push_back(fmt::format("tensor \"{}\": missing, expected {} {}", spec.name,
                                  dtype_name(spec.dtype), shape_text(spec.shape)));
    } else if (tensor->dtype != spec.dtype || tensor->shape != spec.shape) {
      lines.push_back(fmt::format("{}: expected {} {}, found {} {}", archive.where(*tensor),
                                  dtype_name(spec.dtype), shape_text(spec.shape),
                                  dtype_name(tensor->dtype), shape_text(tensor->shape)));
    } else if (reinterpret_cast<uintptr_t>(tensor->bytes.data()) % alignment != 0) {
      lines.push_back(
          fmt::format("{}: expected to lie on {} bytes: rewritten by other software? Convert the "
                      "checkpoint again",
                      archive.where(*tensor), alignment));
    }
  };
  for (const PackedTensor& tensor : expected) {
    const bool packed = tensor.parts[0].shape.has_value();
    expect(tensor.spec,
           packed ? kPackedAlignment : static_cast<uintptr_t>(dtype_bytes(tensor.spec.dtype)));
  }
  expect({kChecksums, DType::u64, {std::ssize(expected)}}, 1);
  for (const Tensor& tensor : archive.tensors()) {
    if (!names.contains(tensor.name)) {
      lines.push_back(fmt::format("{}: unexpected", archive.where(tensor)));
    }
  }
  return lines;
}

}  // namespace

bool is_packed(const std::string& directory) {
  std::error_code code;
  return fs::exists(fs::path(directory) / kPackedWeights, code);
}

Result<ModelFile> ModelFile::open(const std::string& directory) {
  const std::string config_path = (fs::path(directory) / "config.json").string();
  const std::string path = (fs::path(directory) / kPackedWeights).string();
  UNMASK_TRY(const auto document, read_json_file(config_path));
  UNMASK_TRY(ModelConfig config, model_config_from_json(document, config_path));
  UNMASK_TRY(Safetensors archive, Safetensors::open(path));
  UNMASK_TRY(const PackedFormat format, packed_format_of(archive.metadata(), path));
  ModelFile file(std::move(config), format, std::move(archive));
  const auto lines =
      differences(file.archive_, packed_tensors(file.config_, file.layout_, file.format_));
  if (!lines.empty()) {
    constexpr size_t kShown = 100;
    const auto shown = std::span(lines).first(std::min(kShown, lines.size()));
    return failure("{}: {} does not fit config.json:\n  {}{}", directory, kPackedWeights,
                   fmt::join(shown, "\n  "),
                   shown.size() < lines.size()
                       ? fmt::format("\n  and {} more", lines.size() - shown.size())
                       : "");
  }
  for (int32_t i = 0; i < file.config_.layers; ++i) {
    std::vector<const std::byte*>& records = file.records_.emplace_back();
    if (file.config_.is_dense(i)) continue;
    const int64_t size = expert_form(file.config_, format).bytes();
    const std::byte* const first = file.bytes_of(experts_name(i));
    for (int64_t e = 0; e < file.config_.experts; ++e) records.push_back(first + e * size);
  }
  return file;
}

ModelFile::ModelFile(ModelConfig config, PackedFormat format, Safetensors archive)
    : config_(std::move(config)), layout_(config_), format_(format), archive_(std::move(archive)) {}

const std::byte* ModelFile::bytes_of(const std::string& name) const {
  const Tensor* tensor = archive_.find(name);
  UNMASK_CHECK(tensor != nullptr);
  return tensor->bytes.data();
}

ConstMatrix ModelFile::plain(int parameter) const {
  if (parameter < 0) return {};
  const ParameterInfo& p = layout_.table[static_cast<size_t>(parameter)];
  return {reinterpret_cast<const float*>(bytes_of(p.name)), p.rows, p.cols};
}

QuantizedMatrix ModelFile::matrix(const std::string& name, int parameter) const {
  const ParameterInfo& p = layout_.table[static_cast<size_t>(parameter)];
  return matrix_at(format_.dense.shape(p.rows, p.cols), bytes_of(name));
}

ModelWeights::Layer ModelFile::layer_weights(int32_t index) const {
  const auto at = static_cast<size_t>(index);
  const ParameterLayout::Layer& p = layout_.layers[at];
  const auto name = [&](int parameter) {
    return layout_.table[static_cast<size_t>(parameter)].name;
  };
  ModelWeights::Layer layer;
  layer.attention = {.norm = plain(p.attention_norm),
                     .qkv = matrix(name(p.qkv), p.qkv),
                     .qkv_bias = plain(p.qkv_bias),
                     .q_norm = plain(p.q_norm),
                     .k_norm = plain(p.k_norm),
                     .out = matrix(name(p.attention_out), p.attention_out),
                     .out_bias = plain(p.attention_out_bias)};
  layer.moe.norm = plain(p.ffn_norm);
  layer.moe.router = plain(p.router);
  layer.moe.expert_bias = plain(p.expert_bias);
  if (p.expert_gate >= 0) {
    layer.moe.experts = QuantizedExperts{expert_form(config_, format_), records_[at]};
  }
  if (p.shared_gate >= 0) {
    const bool dense = config_.is_dense(index);
    layer.moe.shared = QuantizedFeedForward{feed_forward_form(config_, dense, format_),
                                            bytes_of(feed_forward_name(index, dense))};
  }
  return layer;
}

ModelWeights ModelFile::weights() const {
  const ParameterInfo& embedding = layout_.table[static_cast<size_t>(layout_.embedding)];
  ModelWeights weights;
  weights.embedding = View<const bf16>(reinterpret_cast<const bf16*>(bytes_of(embedding.name)),
                                       embedding.rows, embedding.cols);
  for (int32_t i = 0; i < config_.layers; ++i) weights.layers.push_back(layer_weights(i));
  weights.final_norm = plain(layout_.final_norm);
  weights.head = matrix("head", layout_.head);
  return weights;
}

Status ModelFile::verify() const {
  const auto tensors = packed_tensors(config_, layout_, format_);
  std::vector<int64_t> stored(tensors.size());  // the bits of u64
  UNMASK_TRY_STATUS(archive_.read(*archive_.find(kChecksums), std::span(stored)));
  std::vector<uint8_t> damaged(tensors.size());
  parallel_for(std::ssize(tensors), [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    const auto bytes = archive_.find(tensors[at].spec.name)->bytes;
    damaged[at] = XXH3_64bits(bytes.data(), bytes.size()) != static_cast<uint64_t>(stored[at]);
  });
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (damaged[i] == 0) continue;
    return failure(
        "{}: expected the checksum {:016x}, found other bytes: damaged; convert the checkpoint "
        "again, or copy the file again",
        archive_.where(*archive_.find(tensors[i].spec.name)), static_cast<uint64_t>(stored[i]));
  }
  return {};
}

}  // namespace unmask
