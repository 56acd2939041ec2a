#include "tests/support/golden.h"

#include <cstdlib>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "unmask/base/document.h"

namespace unmask::test {
namespace {

template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}

nlohmann::json read_json(const std::string& path) { return value_or_throw(read_json_file(path)); }

std::string path_of(const std::string& name) { return golden_directory() + "/" + name; }

template <class T>
GoldenTensor<T> read_tensor(const Safetensors& file, const std::string& case_name,
                            std::string_view name) {
  const Tensor* tensor = file.find(name);
  if (tensor == nullptr) throw std::runtime_error(fmt::format("{}: no {}", case_name, name));
  GoldenTensor<T> result{tensor->shape, std::vector<T>(static_cast<size_t>(tensor->elements()))};
  if (const Status status = file.read(*tensor, std::span<T>(result.values)); !status) {
    throw std::runtime_error(status.error().message);
  }
  return result;
}

}  // namespace

std::string golden_directory() {
  if (const char* directory = std::getenv("UNMASK_GOLDEN_DIR")) return directory;
  return UNMASK_SOURCE_DIR "/tests/data/golden";
}

GoldenCase::GoldenCase(const std::string& name)
    : name_(name),
      description_(read_json(path_of(name + ".json"))),
      tensors_(value_or_throw(Safetensors::open(path_of(name + ".safetensors")))) {}

GoldenTensor<float> GoldenCase::f32(std::string_view tensor) const {
  return read_tensor<float>(tensors_, name_, tensor);
}

GoldenTensor<int64_t> GoldenCase::i64(std::string_view tensor) const {
  return read_tensor<int64_t>(tensors_, name_, tensor);
}

std::vector<GoldenCase> golden_cases(std::string_view kind) {
  constexpr std::string_view kSuffix = ".json";
  std::vector<GoldenCase> cases;
  const nlohmann::json index = read_json(path_of("index.json"));
  for (const auto& [file, entry] : index.at("files").items()) {
    // Checkpoints of model cases lie in directories of their own.
    if (!file.ends_with(kSuffix) || file.find('/') != std::string::npos) continue;
    const nlohmann::json description = read_json(path_of(file));
    if (description.at("kind") != kind) continue;
    cases.emplace_back(file.substr(0, file.size() - kSuffix.size()));
  }
  fmt::print("golden: {} cases of kind {} in {}\n", cases.size(), kind, golden_directory());
  EXPECT_FALSE(cases.empty()) << golden_directory() << " has no case of kind " << kind;
  return cases;
}

RoutingPolicy recorded_policy(const GoldenCase& golden, RoutingPolicy own) {
  const std::string variant = golden.config().at("variant");
  if (variant == "original") return own;
  own.policy = RoutingPolicy::Selection::block_experts;
  const auto& config = golden.config();
  own.block.size = config.contains("gen") ? config.at("gen").at("block_length").get<int32_t>() : 32;
  own.block.p = golden.config().at("core_threshold");
  own.block.coreset_min = variant == "be" ? 16 : 12;
  return own;
}

}  // namespace unmask::test
