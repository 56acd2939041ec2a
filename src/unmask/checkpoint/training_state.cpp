#include "unmask/checkpoint/training_state.h"

#include <bit>
#include <cstring>
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

using Statistics = std::map<std::string, std::vector<float>>;

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
  void operator()(const char* field, Statistics& statistics) { each(field, statistics); }
  void operator()(const char* field, const Statistics& statistics) { each(field, statistics); }
  void operator()(const char* field, const Parameters& parameters) {
    if (stored_with_model(field)) return;
    for (const ParameterInfo& info : parameters.layout().table) {
      tensor(fmt::format("{}.{}", field, info.name), {info.rows, info.cols},
             values_of(parameters, info));
    }
  }

  void each(const char* field, auto& statistics) {
    for (auto& [name, values] : statistics) {
      tensor(fmt::format("{}.{}", field, name), {std::ssize(values)}, std::span(values));
    }
  }
};
template <class Tensor>
EachTensor(Tensor) -> EachTensor<Tensor>;

using Shape = std::vector<int64_t>;

// The numbers of the state, and the lengths of its statistics, as JSON.
struct ToJson {
  json document = {{"format", kFormat}};

  void operator()(const char* name, const Number auto& value) { document[name] = value; }
  void operator()(const char* name, const std::optional<double>& value) {
    if (value) document[name] = *value;
  }
  void operator()(const char* name, const Statistics& statistics) {
    json lengths = json::object();
    for (const auto& [key, values] : statistics) lengths[key] = values.size();
    document[name] = std::move(lengths);
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
  // Their values follow from the tensors; the names and lengths say which ones to expect.
  void operator()(const char* name, Statistics& statistics) {
    statistics.clear();
    const json* lengths = fields.find(name);
    if (lengths == nullptr || !lengths->is_object()) return fields.refuse(name, "a table");
    for (const auto& [key, length] : lengths->items()) {
      // No allocation on the word of a file: the tensor itself must have this length.
      if (!length.is_number_unsigned()) return fields.refuse(name, "lengths");
      statistics[key];
    }
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
  for (auto& [name, values] : state.statistics) {
    const Tensor* tensor = file.find("statistics." + name);
    if (tensor != nullptr) values.resize(static_cast<size_t>(tensor->elements()));
  }
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
  std::error_code code;
  if (!fs::exists(path, code)) {
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
  UNMASK_TRY_STATUS(fields.finish());
  return read_tensors(tensors_path(checkpoint), state);
}

// Everything as bytes, field by field.
struct ToBytes {
  std::vector<std::pair<std::string, std::span<const std::byte>>> fields;

  void operator()(const char* name, const Number auto& value) {
    fields.emplace_back(name, std::as_bytes(std::span(&value, 1)));
  }
  void operator()(const char* name, const std::optional<double>& value) {
    fields.emplace_back(
        name, value ? std::as_bytes(std::span(&*value, 1)) : std::span<const std::byte>());
  }
  void operator()(const char* name, const Statistics& statistics) {
    for (const auto& [key, values] : statistics) {
      fields.emplace_back(fmt::format("{}.{}", name, key), std::as_bytes(std::span(values)));
    }
  }
  void operator()(const char* name, const Parameters& parameters) {
    for (const ParameterInfo& info : parameters.layout().table) {
      fields.emplace_back(fmt::format("{}.{}", name, info.name),
                          std::as_bytes(values_of(parameters, info)));
    }
  }
};

std::map<std::string, std::span<const std::byte>> bytes_of(const TrainingState& state) {
  ToBytes bytes;
  TrainingState::visit(state, bytes);
  return {bytes.fields.begin(), bytes.fields.end()};
}

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

struct ToText {
  std::string text;

  void operator()(const char* name, const Number auto& value) {
    text += fmt::format("{}: {}\n", name, value);
  }
  void operator()(const char* name, const std::optional<double>& value) {
    text += value ? fmt::format("{}: {}\n", name, *value) : fmt::format("{}: none\n", name);
  }
  void operator()(const char* name, const Statistics& statistics) {
    for (const auto& [key, values] : statistics) {
      text += fmt::format("{}.{}: {} values\n", name, key, values.size());
    }
  }
  void operator()(const char* name, const Parameters& parameters) {
    text += fmt::format("{}: {} tensors, {} values\n", name, parameters.layout().table.size(),
                        parameters.layout().size);
  }
};

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

std::vector<std::string> differing_fields(const TrainingState& a, const TrainingState& b) {
  const auto of_a = bytes_of(a);
  const auto of_b = bytes_of(b);
  std::vector<std::string> names;
  for (const auto& [name, bytes] : of_a) {
    const auto other = of_b.find(name);
    if (other == of_b.end() || !same_bytes(bytes, other->second)) names.push_back(name);
  }
  for (const auto& [name, bytes] : of_b) {
    if (!of_a.contains(name)) names.push_back(name);
  }
  return names;
}

std::string describe(const TrainingState& state) {
  ToText text;
  TrainingState::visit(state, text);
  return std::move(text.text);
}

}  // namespace unmask
