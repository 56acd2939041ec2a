#pragma once

#include <optional>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/report/metrics.h"

namespace unmask {

// A text the model wrote while training, a line of `samples.jsonl`.
struct Sample {
  int64_t step = 0;
  std::string prompt;  // may be empty
  std::string text;
};

// Everything a run directory tells, events in the order of the file.
struct RunLog {
  std::string directory;
  ConfigEvent config;
  std::vector<TrainEvent> train;
  std::vector<ValidationEvent> validation;
  std::vector<RoutingEvent> routing;
  std::vector<CheckpointEvent> checkpoints;
  std::optional<EndEvent> end;  // only when it is the last word: a resumed run goes on
  std::vector<Sample> samples;
  std::vector<std::string> problems;  // "path:line: what is wrong", for lines that were skipped
};

// Reads `metrics.jsonl`, and `samples.jsonl` if there is one. A line that cannot be understood is a
// problem, a torn last line is not; unknown kinds and fields are skipped. Failure when the
// directory or its metrics are missing, or hold neither training nor validation events.
Result<RunLog> read_run(const std::string& directory);

}  // namespace unmask
