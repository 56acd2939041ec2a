#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/experiment/spec.h"

namespace unmask {

// What a stage measured. Tables of equally long columns are curves. What the machine's speed
// decides is kept apart: all else is the same whenever it is measured again.
struct Measured {
  nlohmann::json values = nlohmann::json::object();  // name: number
  nlohmann::json curves = nlohmann::json::object();  // name: {column: [numbers]}
  nlohmann::json timed_values = nlohmann::json::object();
  nlohmann::json timed_curves = nlohmann::json::object();
};

// Where a stage runs.
struct StagePlace {
  const ExperimentSpec& experiment;
  std::string directory;  // its own
  std::string data;       // directory of the experiment's generated data
  std::string model;      // the checkpoint it begins with; empty: none
  uint64_t seed = 0;
};

// One thing to do in an arm. Made for each place, from the keys of its table.
class Stage {
 public:
  virtual ~Stage() = default;

  // All that decides what it measures, for the record: a finished stage is done again only by hand.
  virtual nlohmann::json description() const = 0;
  // Begins, or goes on where a killed or stopped one was. Nothing: `stop` was set before the end.
  virtual Result<std::optional<Measured>> run(const std::atomic<bool>& stop) = 0;
  // The checkpoint that it leaves when finished; empty for one that only measures.
  virtual std::string model() const { return {}; }
};

// Every kind, in a file of its own. Keys that cannot be are usage errors.
using MakeStage = Result<std::unique_ptr<Stage>>(const StageSpec& spec, const StagePlace& place);
MakeStage make_train_stage, make_distill_stage, make_retrofit_stage, make_loss_stage,
    make_task_stage, make_leave_out_stage;

Result<std::unique_ptr<Stage>> make_stage(const StageSpec& spec, const StagePlace& place);

const std::vector<std::string>& stage_kinds();
// Keys of a stage of the kind, besides its own, `name` and `from`.
const std::vector<std::string>& stage_keys(const std::string& kind);

}  // namespace unmask
