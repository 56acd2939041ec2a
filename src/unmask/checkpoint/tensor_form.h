#pragma once

#include <cstdint>
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

// A layer's experts as one tensor [experts, sharing x rows, cols], in which each has so many
// projections one after the other: one alone (the training form of LLaDA2), or the gate in front of
// the up (LLaDA-MoE as dInfer fuses it, and transformers 5).
struct MergedExperts {
  std::string name;
  std::vector<int64_t> shape;
  int64_t index = 0;  // of the parameter's projection
  int64_t sharing = 1;
};

// How a family of checkpoints stores one parameter: in parts that follow one another, or, where a
// checkpoint has one of them, as merged experts.
struct TensorForm {
  std::vector<StoredTensor> parts;
  std::vector<MergedExperts> merged;
};

// One for each parameter, in the order of the layout's table.
std::vector<TensorForm> tensor_forms(const ModelConfig& config, const ParameterLayout& layout);

}  // namespace unmask
