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
  int parameter = 0;                  // index into the layout's table
  int64_t first = 0;                  // element of that parameter
  int64_t begin = 0;                  // element of the tensor, where those of the parameter lie …
  std::optional<int64_t> count = {};  // … and how many; all of it unless it holds another's too

  int64_t elements() const;
};

// How a family of checkpoints stores one parameter: in parts that follow one another. Checkpoints
// whose experts are merged have one of the other forms instead: a layer's experts as one tensor
// [experts, …] (the training form of LLaDA2), or the gates of each in front of its ups (LLaDA-MoE
// as dInfer fuses it, and transformers 5).
struct TensorForm {
  std::vector<StoredTensor> parts;
  std::vector<std::vector<StoredTensor>> merged;
};

// One for each parameter, in the order of the layout's table.
std::vector<TensorForm> tensor_forms(const ModelConfig& config, const ParameterLayout& layout);

}  // namespace unmask
