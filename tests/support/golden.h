#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/checkpoint/safetensors.h"
#include "unmask/routing/policy.h"

namespace unmask::test {

// Recordings of the papers' public code: inputs, outputs and configuration of one computation in
// CASE.json and CASE.safetensors (tests/data/golden/README.md).

// UNMASK_GOLDEN_DIR, else tests/data/golden of the source tree.
std::string golden_directory();

template <class T>
struct GoldenTensor {
  std::vector<int64_t> shape;
  std::vector<T> values;  // row-major
};

class GoldenCase {
 public:
  // Throws std::runtime_error when the files are missing or damaged.
  explicit GoldenCase(const std::string& name);

  const std::string& name() const { return name_; }
  // The whole of CASE.json; `config` is its configuration of the computation.
  const nlohmann::json& description() const { return description_; }
  const nlohmann::json& config() const { return description_.at("config"); }

  bool has(std::string_view tensor) const { return tensors_.find(tensor) != nullptr; }
  const Safetensors& tensors() const { return tensors_; }
  // Throw std::runtime_error when the case has no such tensor or it holds no integers.
  GoldenTensor<float> f32(std::string_view tensor) const;
  GoldenTensor<int64_t> i64(std::string_view tensor) const;

 private:
  std::string name_;
  nlohmann::json description_;
  Safetensors tensors_;
};

// Every case of a kind that the directory's index.json lists. Prints how many there are; none is a
// failure of the running test.
std::vector<GoldenCase> golden_cases(std::string_view kind);

// The policy of a recorded model: the checkpoint's own for the variant "original", else block
// experts on top of it, "be" (inference, at least 16 experts) or "train" (12). The public code cuts
// the rows of a forward pass in 32s, whatever the block of the attention; a decoding step has the
// rows of one block.
RoutingPolicy recorded_policy(const GoldenCase& golden, RoutingPolicy own);

}  // namespace unmask::test
