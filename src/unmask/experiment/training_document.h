#pragma once

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/experiment/stage.h"

namespace unmask {

// The training configuration that a stage names, as that place has it: the file of the experiment,
// the stage's `set`, the quick form's settings, and data (of a distillation, prompts), seed and
// model of the place.
Result<nlohmann::json> training_document(const StageSpec& spec, const StagePlace& place);

}  // namespace unmask
