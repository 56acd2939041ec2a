#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/train/config.h"
#include "unmask/train/targets.h"

namespace unmask {

// A distillation as its TOML file says it (docs/distillation.md lists every key).
struct DistillConfig {
  std::vector<std::string> prompts;  // files of JSON lines (conversations.h: parse_prompt)
  int64_t count = 0;                 // so many of them, the first; 0 = all
  TargetOptions targets;

  // The student, which starts from its teacher, `train.from`. Its data are the targets, whose path
  // the run has.
  TrainConfig train;
};

// Reads the table `distill` and, of all other keys, a training configuration without data.paths.
Result<DistillConfig> distill_config_from_json(const nlohmann::json& document,
                                               const std::string& file);

}  // namespace unmask
