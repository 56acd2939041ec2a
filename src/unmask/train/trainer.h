#pragma once

#include <atomic>
#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/base/staged_directory.h"
#include "unmask/train/config.h"

namespace unmask {

struct TrainRequest {
  TrainConfig config;
  nlohmann::json document;    // the configuration as it was read, for the run's records
  std::string run_directory;  // metrics.jsonl, config.json, samples.jsonl, checkpoints/
  bool resume = false;        // go on from the newest checkpoint, or from the beginning without one
  bool show_progress = true;
};

// Trains until the steps are done, `stop` is set or training diverges. Stopping saves first; a
// kill at any moment leaves the last checkpoint whole, and a resumed run gives the same parameters,
// to the bit, as one that was never interrupted. `lock` is that of the run, if the caller has it.
Status train(TrainRequest request, const std::atomic<bool>& stop, DirectoryLock lock = {});

}  // namespace unmask
