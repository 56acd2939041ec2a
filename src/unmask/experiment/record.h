#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "unmask/base/result.h"
#include "unmask/experiment/stage.h"

namespace unmask {

// What a finished stage leaves in its directory: its description and what it measured. It is
// written last, and whole or not at all: a stage without one is not finished.
struct StageRecord {
  nlohmann::json description;
  Measured measured;
  double core_seconds = 0;  // threads x seconds of the run that finished it
};

// visit(key, member) for every part of what is measured.
template <class Of, class Visit>
void visit_measured(Of& measured, Visit&& visit) {
  visit("values", measured.values);
  visit("curves", measured.curves);
  visit("timed_values", measured.timed_values);
  visit("timed_curves", measured.timed_curves);
}

Status write_stage_record(const std::string& directory, const StageRecord& record);
bool has_stage_record(const std::string& directory);
// Nothing where the stage is not finished.
Result<std::optional<StageRecord>> read_stage_record(const std::string& directory);

}  // namespace unmask
