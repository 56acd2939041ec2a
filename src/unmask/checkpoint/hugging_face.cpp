#include "unmask/checkpoint/hugging_face.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <span>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/parallel.h"
#include "unmask/checkpoint/model_config_json.h"
#include "unmask/checkpoint/tensor_form.h"

namespace unmask {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string join(const std::string& directory, const std::string& name) {
  return (fs::path(directory) / name).string();
}

bool has_weights(const std::string& directory) {
  std::error_code code;
  return fs::exists(join(directory, "model.safetensors"), code) ||
         fs::exists(join(directory, "model.safetensors.index.json"), code);
}

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16 || dtype == DType::f64;
}

// Tables of constants that some checkpoints carry along.
bool is_ignorable(std::string_view name) { return name.ends_with("rotary_emb.inv_freq"); }

std::span<float> place_of(const StoredTensor& stored, const Parameters& parameters) {
  const ParameterInfo& info = parameters.layout().table[static_cast<size_t>(stored.parameter)];
  return parameters.flat().subspan(static_cast<size_t>(info.offset + stored.first),
                                   static_cast<size_t>(stored.elements()));
}

// Matches the tensors of an archive with the forms that a configuration wants.
class Loader {
 public:
  Loader(const Safetensors& archive, const Parameters& parameters)
      : archive_(archive), parameters_(parameters) {}

  void expect(const TensorForm& form) {
    if (form.merged && archive_.find(form.merged->name) != nullptr) {
      expect(*form.merged);
    } else {
      for (const StoredTensor& part : form.parts) expect(part);
    }
  }

  // A tied head may be stored all the same, if it really is the embedding.
  void permit_tied_head(const std::string& embedding) {
    const Tensor* head = archive_.find("lm_head.weight");
    const Tensor* source = archive_.find(embedding);
    if (head == nullptr || source == nullptr) return;
    expected_.insert(head->name);
    if (head->dtype != source->dtype || !std::ranges::equal(head->bytes, source->bytes)) {
      problem("{}: differs from {}, although tie_word_embeddings is true", archive_.where(*head),
              embedding);
    }
  }

  void report_unexpected() {
    for (const Tensor& tensor : archive_.tensors()) {
      if (expected_.contains(tensor.name) || is_ignorable(tensor.name)) continue;
      problem("{}: unexpected: the configuration has no such parameter", archive_.where(tensor));
    }
  }

  Status status(const std::string& directory) const {
    if (problems_ == 0) return {};
    std::string more;
    if (problems_ > lines_.size()) more = fmt::format("\n  and {} more", problems_ - lines_.size());
    return failure("{}: the weights do not fit config.json:\n  {}{}", directory,
                   fmt::join(lines_, "\n  "), more);
  }

  void read_all() const {
    parallel_for(static_cast<int64_t>(jobs_.size()), [&](int64_t i) {
      const auto& [tensor, place] = jobs_[static_cast<size_t>(i)];
      UNMASK_CHECK(archive_.read(*tensor, place).ok());
    });
  }

 private:
  static constexpr size_t kShown = 100;

  template <class... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    if (++problems_ <= kShown) lines_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  void expect(const StoredTensor& stored) {
    expected_.insert(stored.name);
    const Tensor* tensor = archive_.find(stored.name);
    if (tensor == nullptr) {
      problem("tensor \"{}\": missing, expected {}", stored.name, shape_text(stored.shape));
    } else if (tensor->shape != stored.shape) {
      problem("{}: expected shape {}, found {}", archive_.where(*tensor), shape_text(stored.shape),
              shape_text(tensor->shape));
    } else if (!is_float(tensor->dtype)) {
      problem("{}: expected floating-point numbers, found {}", archive_.where(*tensor),
              dtype_name(tensor->dtype));
    } else {
      jobs_.emplace_back(tensor, place_of(stored, parameters_));
    }
  }

  const Safetensors& archive_;
  const Parameters& parameters_;
  std::unordered_set<std::string> expected_;
  std::vector<std::pair<const Tensor*, std::span<float>>> jobs_;
  std::vector<std::string> lines_;
  size_t problems_ = 0;
};

// What one file of the checkpoint holds.
struct Shard {
  std::string file;
  std::vector<const StoredTensor*> tensors;
  std::vector<TensorSpec> specs;
  int64_t bytes = 0;
};

// Vectors are small and routers are computed in f32: neither gains by rounding.
DType dtype_of(const StoredTensor& stored, DType matrices) {
  return stored.shape.size() == 1 || stored.name.ends_with("mlp.gate.weight") ? DType::f32
                                                                              : matrices;
}

std::vector<Shard> cut_into_shards(const std::vector<TensorForm>& forms,
                                   const SaveOptions& options) {
  std::vector<Shard> shards(1);
  for (const TensorForm& form : forms) {
    for (const StoredTensor& stored : form.parts) {
      TensorSpec spec{stored.name, dtype_of(stored, options.dtype), stored.shape};
      if (!shards.back().tensors.empty() &&
          shards.back().bytes + spec.bytes() > options.shard_bytes) {
        shards.emplace_back();
      }
      Shard& shard = shards.back();
      shard.bytes += spec.bytes();
      shard.tensors.push_back(&stored);
      shard.specs.push_back(std::move(spec));
    }
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    shards[i].file = shards.size() == 1
                         ? "model.safetensors"
                         : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
  }
  return shards;
}

Status write_shard(const std::string& directory, Shard shard, const Parameters& parameters) {
  UNMASK_TRY(auto writer, SafetensorsWriter::create(join(directory, shard.file),
                                                    std::move(shard.specs), {{"format", "pt"}}));
  for (const StoredTensor* stored : shard.tensors) {
    UNMASK_TRY_STATUS(writer.append(place_of(*stored, parameters)));
  }
  return writer.finish();
}

json shard_index(const std::vector<Shard>& shards) {
  json map = json::object();
  int64_t total = 0;
  for (const Shard& shard : shards) {
    for (const StoredTensor* stored : shard.tensors) map[stored->name] = shard.file;
    total += shard.bytes;
  }
  return {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
}

}  // namespace

Result<ModelConfig> load_model_config(const std::string& directory) {
  const std::string path = join(directory, "config.json");
  UNMASK_TRY(const json document, read_json_file(path));
  UNMASK_TRY(const ModelConfig config, model_config_from_json(document, path));
  if (!has_weights(directory)) return config;

  UNMASK_TRY(const Safetensors archive, Safetensors::open_directory(directory));
  int64_t stored = 0;
  for (const Tensor& tensor : archive.tensors()) stored += tensor.elements();
  const ParameterLayout layout(config);
  int64_t wanted = 0;
  for (const ParameterInfo& info : layout.table) wanted += info.size();
  if (wanted > stored) {
    return failure("{}: describes a model of {} parameters, the files beside it hold {}", path,
                   wanted, stored);
  }
  return config;
}

Status load_parameters(const std::string& directory, const ModelConfig& config,
                       const Parameters& parameters) {
  UNMASK_TRY(const Safetensors archive, Safetensors::open_directory(directory));
  const auto forms = tensor_forms(config, parameters.layout());
  Loader loader(archive, parameters);
  for (const TensorForm& form : forms) loader.expect(form);
  if (config.tied_head) {
    const auto embedding = static_cast<size_t>(parameters.layout().embedding);
    loader.permit_tied_head(forms[embedding].parts[0].name);
  }
  loader.report_unexpected();
  UNMASK_TRY_STATUS(loader.status(directory));
  loader.read_all();
  return {};
}

Status save_model(const std::string& directory, const ModelConfig& config,
                  const Parameters& parameters, const SaveOptions& options) {
  UNMASK_CHECK(options.dtype == DType::f32 || options.dtype == DType::bf16);
  const auto forms = tensor_forms(config, parameters.layout());
  const std::vector<Shard> shards = cut_into_shards(forms, options);
  for (const Shard& shard : shards) {
    UNMASK_TRY_STATUS(write_shard(directory, shard, parameters));
  }
  if (shards.size() > 1) {
    UNMASK_TRY_STATUS(write_file_atomically(join(directory, "model.safetensors.index.json"),
                                            shard_index(shards).dump(1) + "\n"));
  }
  const std::string text = model_config_to_json(config, options.dtype).dump(2) + "\n";
  return write_file_atomically(join(directory, "config.json"), text);
}

}  // namespace unmask
