#pragma once

#include <memory>
#include <string>

#include "unmask/base/result.h"
#include "unmask/model/config.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

// The tokenizer beside the model. Refuses one that has no mask token, or another than the model's,
// or ids that the model has no embedding for.
Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& directory,
                                                  const ModelConfig& config);

}  // namespace unmask
