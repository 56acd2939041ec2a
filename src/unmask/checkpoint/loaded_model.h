#pragma once

#include <functional>
#include <optional>
#include <string>

#include "unmask/base/result.h"
#include "unmask/model/model.h"

namespace unmask {

// How a packed model multiplies what is not in its weights: attention.
inline constexpr Precision kPackedPrecision = Precision::bf16;

struct LoadOptions {
  std::optional<Precision> precision = {};  // else f32, of packed models kPackedPrecision
  // May change what the model computes, but not its parameters.
  std::function<Status(ModelConfig&)> adjust = {};
  std::optional<int64_t> expert_memory = {};  // bytes; packed models only
};

// Configuration and parameters of a checkpoint directory; of a packed model its weights
// (ModelFile::load).
Result<Model> load_model(const std::string& directory, const LoadOptions& options);

}  // namespace unmask
