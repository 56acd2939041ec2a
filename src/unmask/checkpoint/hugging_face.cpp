#include "unmask/checkpoint/hugging_face.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "unmask/base/arena.h"
#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
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
  return path_exists(join(directory, "model.safetensors")) ||
         path_exists(join(directory, "model.safetensors.index.json"));
}

// Elements read at a time: per task into memory, and at once on the way to a file.
constexpr int64_t kRead = 1 << 18;
constexpr int64_t kWritten = 1 << 22;

// What one file of the checkpoint holds.
struct Shard {
  std::string file;
  std::vector<const StoredTensor*> tensors;
  std::vector<TensorSpec> specs;
  int64_t bytes = 0;
};

std::vector<Shard> cut_into_shards(const std::vector<TensorForm>& forms,
                                   const SaveOptions& options) {
  std::vector<Shard> shards(1);
  for (const TensorForm& form : forms) {
    for (const StoredTensor& stored : form.parts) {
      TensorSpec spec{stored.name, DType::f32, stored.shape};
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

// One file after the other, and how far that is in all.
class ShardWriter {
 public:
  ShardWriter(const std::string& directory, const ParameterSource& source,
              const ReportBytes& report)
      : directory_(directory), source_(source), report_(report), piece_(kWritten * sizeof(float)) {}

  Status write(const Shard& shard) {
    UNMASK_TRY(auto writer, SafetensorsWriter::create(join(directory_, shard.file), shard.specs,
                                                      {{"format", "pt"}}));
    for (size_t i = 0; i < shard.tensors.size(); ++i) {
      UNMASK_TRY_STATUS(write(*shard.tensors[i], writer));
    }
    return writer.finish();
  }

 private:
  Status write(const StoredTensor& stored, SafetensorsWriter& writer) {
    const int64_t end = stored.first + stored.elements();
    for (int64_t first = stored.first; first < end; first += kWritten) {
      const std::span<float> values(piece_.as<float>(),
                                    static_cast<size_t>(std::min(kWritten, end - first)));
      source_.read(stored.parameter, first, values);
      UNMASK_TRY_STATUS(writer.append(std::span<const float>(values)));
      written_ += static_cast<int64_t>(values.size_bytes());
      if (report_) UNMASK_TRY_STATUS(report_(written_));
    }
    return {};
  }

  const std::string& directory_;
  const ParameterSource& source_;
  const ReportBytes& report_;
  Buffer piece_;
  int64_t written_ = 0;
};

json shard_index(const std::vector<Shard>& shards) {
  json map = json::object();
  int64_t total = 0;
  for (const Shard& shard : shards) {
    for (const StoredTensor* stored : shard.tensors) map[stored->name] = shard.file;
    total += shard.bytes;
  }
  return {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
}

// The end tokens that generation_config.json names, one or a list.
Result<std::vector<int32_t>> more_ends(const std::string& directory, const ModelConfig& config) {
  const std::string path = join(directory, "generation_config.json");
  if (!path_exists(path)) return std::vector<int32_t>();
  UNMASK_TRY(const json document, read_json_file(path));
  Fields fields(document, "", path);
  std::vector<int32_t> tokens;
  const json* const ends = fields.find("eos_token_id");
  if (ends != nullptr && ends->is_array()) {
    fields.read("eos_token_id", tokens);
  } else if (ends != nullptr && !ends->is_null()) {
    fields.read("eos_token_id", tokens.emplace_back());
  }
  for (const int32_t token : tokens) {
    if (token < 0 || token >= config.vocab_size) {
      fields.refuse("eos_token_id", fmt::format("tokens of 0 to {}", config.vocab_size - 1));
    }
  }
  fields.ignore_others();
  UNMASK_TRY_STATUS(fields.finish());
  return tokens;
}

}  // namespace

Result<ModelConfig> load_model_config(const std::string& directory) {
  const std::string path = join(directory, "config.json");
  UNMASK_TRY(const json document, read_json_file(path));
  UNMASK_TRY(ModelConfig config, model_config_from_json(document, path));
  UNMASK_TRY(const auto ends, more_ends(directory, config));
  for (const int32_t token : ends) {
    // Lists of the models that LLaDA2 descends from have its mask among them, which no text has.
    if (config.ends(token) || token == config.mask_token) continue;
    config.other_end_tokens.push_back(token);
  }
  if (!has_weights(directory)) return config;

  UNMASK_TRY(const Safetensors archive, Safetensors::open_directory(directory));
  int64_t stored = 0;
  for (const Tensor& tensor : archive.tensors()) stored += tensor.elements();
  const int64_t wanted = ParameterLayout(config).parameters();
  if (wanted > stored) {
    // Names what is missing, unless there are absurdly many.
    constexpr int64_t kMostTensors = 1 << 20;
    if (int64_t{config.layers} * (int64_t{3} * config.experts + 20) <= kMostTensors) {
      UNMASK_TRY_STATUS(CheckpointSource::open(directory, config));
    }
    return failure("{}: describes a model of {} parameters, the files beside it hold {}", path,
                   wanted, stored);
  }
  return config;
}

Status load_parameters(const CheckpointSource& source, const Parameters& parameters) {
  // Pieces of all parameters, since most tensors are small.
  struct Piece {
    int parameter;
    int64_t first;
    std::span<float> out;
  };
  std::vector<Piece> pieces;
  const auto& table = parameters.layout().table;
  for (size_t i = 0; i < table.size(); ++i) {
    for (int64_t first = 0; first < table[i].size(); first += kRead) {
      pieces.push_back({static_cast<int>(i), first,
                        parameters.flat().subspan(
                            static_cast<size_t>(table[i].offset + first),
                            static_cast<size_t>(std::min(kRead, table[i].size() - first)))});
    }
  }
  std::vector<Status> read(pieces.size());
  parallel_for(std::ssize(pieces), [&](int64_t i) {
    const Piece& piece = pieces[static_cast<size_t>(i)];
    read[static_cast<size_t>(i)] = source.read_finite(piece.parameter, piece.first, piece.out);
  });
  for (const Status& status : read) UNMASK_TRY_STATUS(status);
  return source.unchanged();
}

Status load_parameters(const std::string& directory, const ModelConfig& config,
                       const Parameters& parameters) {
  UNMASK_TRY(const CheckpointSource source, CheckpointSource::open(directory, config));
  return load_parameters(source, parameters);
}

Status save_model(const std::string& directory, const ParameterSource& source,
                  const SaveOptions& options, const ReportBytes& report) {
  const auto forms = tensor_forms(source.config(), source.layout());
  const std::vector<Shard> shards = cut_into_shards(forms, options);
  ShardWriter writer(directory, source, report);
  for (const Shard& shard : shards) UNMASK_TRY_STATUS(writer.write(shard));
  UNMASK_TRY_STATUS(source.unchanged());
  if (shards.size() > 1) {
    UNMASK_TRY_STATUS(write_file_atomically(join(directory, "model.safetensors.index.json"),
                                            to_text(shard_index(shards), 1) + "\n"));
  }
  const std::string text = to_text(model_config_to_json(source.config()), 2) + "\n";
  return write_file_atomically(join(directory, "config.json"), text);
}

Status save_model(const std::string& directory, const ModelConfig& config,
                  const Parameters& parameters, const SaveOptions& options) {
  return save_model(directory, HeldParameters(config, parameters), options);
}

}  // namespace unmask
