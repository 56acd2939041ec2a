#pragma once

#include <functional>
#include <optional>
#include <string>

#include "unmask/base/result.h"
#include "unmask/model/model.h"

namespace unmask {

struct LoadOptions {
  Precision precision = Precision::f32;
  // May change what the model computes, but not its parameters.
  std::function<Status(ModelConfig&)> adjust = {};
  std::optional<int64_t> expert_memory = {};  // bytes; packed models only
};

// Configuration and parameters of a checkpoint directory; of a packed model the mapped file.
Result<Model> load_model(const std::string& directory, const LoadOptions& options);

}  // namespace unmask
