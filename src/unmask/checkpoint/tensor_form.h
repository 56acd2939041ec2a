#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "unmask/model/config.h"
#include "unmask/model/parameters.h"

namespace unmask {

// A tensor as a checkpoint names it, and the elements of a parameter that it holds.
struct StoredTensor {
  std::string name;
  std::vector<int64_t> shape;
  int parameter = 0;  // index into the layout's table
  int64_t first = 0;  // element of that parameter

  int64_t elements() const;
};

// How a family of checkpoints stores one parameter: in parts that follow one another, or, for the
// experts of a layer, also as one tensor [experts, …] (the training form of LLaDA2).
struct TensorForm {
  std::vector<StoredTensor> parts;
  std::optional<StoredTensor> merged;
};

// One for each parameter, in the order of the layout's table.
std::vector<TensorForm> tensor_forms(const ModelConfig& config, const ParameterLayout& layout);

}  // namespace unmask
