#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "unmask/base/result.h"
#include "unmask/model/model.h"
#include "unmask/text/tokenizer.h"

namespace unmask::cli {

// "f32" or "bf16".
Result<Precision> parse_precision(const std::string& name);

struct LoadOptions {
  Precision precision = Precision::f32;
  // May change what the model computes, but not its parameters.
  std::function<Status(ModelConfig&)> adjust = {};
  std::optional<int64_t> expert_memory = {};  // bytes; packed models only
};

// Configuration and parameters of a checkpoint directory; of a packed model the mapped file.
Result<Model> load_model(const std::string& directory, const LoadOptions& options);

// The tokenizer beside the model. Refuses one that has no mask token, or another than the model's,
// or ids that the model has no embedding for.
Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& directory,
                                                  const ModelConfig& config);

}  // namespace unmask::cli
