#pragma once

#include <functional>
#include <memory>
#include <string>

#include "unmask/base/result.h"
#include "unmask/model/model.h"
#include "unmask/text/tokenizer.h"

namespace unmask::cli {

// "f32" or "bf16".
Result<Precision> parse_precision(const std::string& name);

// Configuration and parameters of a checkpoint directory. `adjust` may change what the model
// computes, but not its parameters.
using AdjustConfig = std::function<Status(ModelConfig&)>;
Result<Model> load_model(const std::string& directory, Precision precision,
                         const AdjustConfig& adjust = {});

// The tokenizer beside the model. Refuses one that has no mask token, or another than the model's,
// or ids that the model has no embedding for.
Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& directory,
                                                  const ModelConfig& config);

}  // namespace unmask::cli
