#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/base/staged_directory.h"

namespace unmask {

// The record of a run: config.json in its directory, the configuration as it was read.

// A new run needs a directory without a record. A run that goes on (`resume`) needs one that says
// the same, except where that changes nothing that is computed: evaluation, checkpoints, the name
// and how often metrics are written.
Status check_record(const std::string& run_directory, const nlohmann::json& document, bool resume);

// The run for this process alone, until it is destroyed. Makes the directory where it is not there.
Result<DirectoryLock> lock_run(const std::string& run_directory);

Status write_record(const std::string& run_directory, const nlohmann::json& document);

}  // namespace unmask
