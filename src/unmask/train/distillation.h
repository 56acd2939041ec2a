#pragma once

#include <atomic>
#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/train/distill_config.h"

namespace unmask {

struct DistillRequest {
  DistillConfig config;
  nlohmann::json document;    // the configuration as it was read, for the run's records
  std::string run_directory;  // targets.jsonl, targets.json, and what a training run has
  bool resume = false;        // go on where the run stopped, in either part
  bool show_progress = true;
};

// Self-distillation (dMoE, arXiv 2605.30876): the model of `train.from` writes answers with the
// routing of its checkpoint (write_targets), then is trained on them with the routing of the
// configuration (train). Returns early when `stop` is set. A run that was stopped or killed at any
// moment and resumed gives the same targets and parameters, to the bit, as an unbroken one.
Status distill(DistillRequest request, const std::atomic<bool>& stop);

}  // namespace unmask
