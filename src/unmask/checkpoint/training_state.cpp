#include "unmask/checkpoint/training_state.h"

#include <filesystem>
#include <span>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>

#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/base/json_text.h"
#include "unmask/base/staged_directory.h"
#include "unmask/checkpoint/safetensors.h"

namespace unmask {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// What kinds of fields there are: another kind does not compile until each visitor knows it.
template <class T>
concept Number = std::is_arithmetic_v<T>;

constexpr int kFormat = 1;

std::string state_folder(const std::string& checkpoint) {
  return (fs::path(checkpoint) / "training_state").string();
}
std::string numbers_path(const std::string& checkpoint) {
  return state_folder(checkpoint) + "/state.json";
}
std::string tensors_path(const std::string& checkpoint) {
  return state_folder(checkpoint) + "/state.safetensors";
}

std::span<float> values_of(const Parameters& parameters, const ParameterInfo& info) {
  return parameters.flat().subspan(static_cast<size_t>(info.offset),
                                   static_cast<size_t>(info.size()));
}

// What older checkpoints do not have.
bool has_default(std::string_view field) {
  return field == "measured_step" || field == "sampled_step" || field == "data_fingerprint";
}

// Parameters of a model are stored with it, not with the training state.
bool stored_with_model(std::string_view field) { return field == "parameters"; }

// For a visitor that looks at every tensor of the state: tensor(name, shape, values).
template <class Tensor>
struct EachTensor {
  Tensor tensor;

  void operator()(const char*, const Number auto&) {}
  void operator()(const char*, const std::optional<double>&) {}
  void operator()(const char* field, const Parameters& parameters) {
    if (stored_with_model(field)) return;
    for (const ParameterInfo& info : parameters.layout().table) {
      tensor(fmt::format("{}.{}", field, info.name), {info.rows, info.cols},
             values_of(parameters, info));
    }
  }
};
template <class Tensor>
EachTensor(Tensor) -> EachTensor<Tensor>;

using Shape = std::vector<int64_t>;

// The numbers of the state as JSON.
struct ToJson {
  json document = {{"format", kFormat}};

  void operator()(const char* name, const Number auto& value) { document[name] = value; }
  void operator()(const char* name, const std::optional<double>& value) {
    if (value) document[name] = *value;
  }
  void operator()(const char*, const Parameters&) {}
};

struct FromJson {
  Fields& fields;

  void operator()(const char* name, Number auto& value) {
    if (has_default(name)) {
      fields.read(name, value);
    } else {
      fields.require(name, value);
    }
  }
  void operator()(const char* name, std::optional<double>& value) {
    value.reset();
    fields.read(name, value);
  }
  void operator()(const char*, const Parameters&) {}
};

Status write_tensors(const std::string& path, const TrainingState& state) {
  std::vector<TensorSpec> specs;
  TrainingState::visit(state, EachTensor{[&](std::string name, Shape shape, auto) {
                         specs.push_back({std::move(name), DType::f32, std::move(shape)});
                       }});
  UNMASK_TRY(auto writer, SafetensorsWriter::create(path, std::move(specs)));
  Status status;
  TrainingState::visit(state, EachTensor{[&](const std::string&, const Shape&, auto values) {
                         if (status.ok()) status = writer.append(std::span<const float>(values));
                       }});
  UNMASK_TRY_STATUS(std::move(status));
  return writer.finish();
}

Status read_tensors(const std::string& path, TrainingState& state) {
  UNMASK_TRY(const Safetensors file, Safetensors::open(path));
  Status status;
  std::unordered_set<std::string> expected;
  std::vector<std::pair<const Tensor*, std::span<float>>> jobs;
  const auto match = [&](const std::string& name, const Shape& shape, std::span<float> values) {
    const Tensor* tensor = file.find(name);
    expected.insert(name);
    if (!status.ok()) return;
    if (tensor == nullptr) {
      status = failure("{}: tensor \"{}\": missing, expected {}", path, name, shape_text(shape));
    } else if (tensor->shape != shape) {
      status = failure("{}: expected shape {}, found {}: the state of another model?",
                       file.where(*tensor), shape_text(shape), shape_text(tensor->shape));
    } else if (tensor->dtype != DType::f32) {
      status =
          failure("{}: expected F32, found {}", file.where(*tensor), dtype_name(tensor->dtype));
    } else {
      jobs.emplace_back(tensor, values);
    }
  };
  TrainingState::visit(state, EachTensor{match});
  UNMASK_TRY_STATUS(std::move(status));
  for (const Tensor& tensor : file.tensors()) {
    if (!expected.contains(tensor.name)) {
      return failure("{}: unexpected: this model has no such state", file.where(tensor));
    }
  }
  for (const auto& [tensor, values] : jobs) UNMASK_TRY_STATUS(file.read(*tensor, values));
  return {};
}

Status save_training_state(const std::string& checkpoint, const TrainingState& state) {
  ToJson numbers;
  TrainingState::visit(state, numbers);
  UNMASK_TRY_STATUS(
      write_file_atomically(numbers_path(checkpoint), to_text(numbers.document, 2) + "\n"));
  return write_tensors(tensors_path(checkpoint), state);
}

Status load_training_state(const std::string& checkpoint, TrainingState& state) {
  const std::string path = numbers_path(checkpoint);
  if (!path_exists(path)) {
    return failure(
        "{}: expected training_state/state.json, found none: a model without it can be "
        "trained from its weights, not resumed",
        checkpoint);
  }
  UNMASK_TRY(const json document, read_json_file(path));
  Fields fields(document, "", path);
  int format = 0;
  fields.require("format", format);
  if (format != kFormat) fields.refuse("format", "1: written by a newer version?");
  TrainingState::visit(state, FromJson{fields});
  fields.find("statistics");  // a table without entries in older checkpoints
  UNMASK_TRY_STATUS(fields.finish());
  return read_tensors(tensors_path(checkpoint), state);
}

}  // namespace

Status save_checkpoint(const std::string& directory, const ModelConfig& config,
                       const TrainingState& state,
                       const std::function<Status(const std::string& staged)>& add_files) {
  UNMASK_TRY(auto staged, StagedDirectory::create(directory));
  UNMASK_TRY_STATUS(save_model(staged.path(), config, *state.parameters));
  UNMASK_TRY_STATUS(save_training_state(staged.path(), state));
  if (add_files) UNMASK_TRY_STATUS(add_files(staged.path()));
  return staged.commit();
}

Status load_checkpoint(const std::string& directory, const ModelConfig& config,
                       TrainingState& state) {
  UNMASK_TRY_STATUS(load_training_state(directory, state));
  return load_parameters(directory, config, *state.parameters);
}

}  // namespace unmask
