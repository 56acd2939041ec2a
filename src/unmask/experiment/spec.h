#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"

namespace unmask {

// Examples of a generated task to train on (docs/tasks.md).
struct DataSpec {
  std::string name;
  std::string task;
  nlohmann::json settings = nlohmann::json::object();
  int64_t count = 0;
  uint64_t seed = 0;
};

// One thing to do, the keys of its table as they stand (stage.h).
struct StageSpec {
  std::string name;  // its directory, and what its numbers are called by
  std::string kind;  // "train", "retrofit", …
  // Where the model that it begins with is from: "ARM", what an earlier arm came to, or
  // "ARM/STAGE"; empty: the stage before it, if any.
  std::string from = "";
  nlohmann::json keys = nlohmann::json::object();
};

// What is compared: stages one after the other.
struct ArmSpec {
  std::string name;   // its directory
  std::string label;  // for people
  std::vector<StageSpec> stages;
};

// An experiment as experiments/NAME/experiment.toml says it (docs/experiments.md).
struct ExperimentSpec {
  std::string name;
  std::string title;
  std::string directory;           // of the file and of the configurations that it names
  std::vector<std::string> needs;  // files that scripts/experiment makes
  int64_t first_seed = 1;
  int32_t seeds = 3;  // so many, one after the other
  std::vector<DataSpec> data;
  std::vector<ArmSpec> arms;  // in order: an arm may begin with the model of an earlier one

  // The quick form: every stage at toy size.
  bool quick = false;
  std::vector<std::string> settings;  // key=value over every training configuration that has it
  std::string quick_data;             // data of the stages that name none
  int64_t quick_count = 0;            // questions of a task, at most; 0: as the stage says
};

// Of the folder `root`; unknown names, keys and arms are errors that name the nearest.
Result<ExperimentSpec> read_experiment(const std::string& root, const std::string& name,
                                       bool quick);

// The experiments of a folder, in alphabetical order.
std::vector<std::string> experiment_names(const std::string& root);

}  // namespace unmask
