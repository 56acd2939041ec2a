#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/experiment/spec.h"

namespace unmask {

struct RunRequest {
  std::string out = "runs/experiments";  // OUT/NAME/ARM/seed-S/STAGE
  int32_t seeds = 0;                     // how many; 0: the experiment's own number
  int32_t side_by_side = 0;              // seeds at the same time; 0: as many as threads
};

// What is done of an experiment, and what is not.
struct RunProgress {
  int64_t stages = 0;
  int64_t finished = 0;
  std::vector<std::string> remaining;  // "seed 2, expert-choice: train"
};

// The directory of a stage, and that of the experiment (OUT/NAME).
std::string stage_directory(const std::string& experiment, const std::string& arm, uint64_t seed,
                            const std::string& stage);

// Does what is not done yet, all arms for one seed, then for the next, so that what is there at any
// time compares all arms; until `stop` is set. Seeds side by side share the threads, which wait
// less for each other than at one small model; they change no number but times. Fails where a
// finished stage was done with another configuration than now.
Result<RunProgress> run_experiment(const ExperimentSpec& spec, const RunRequest& request,
                                   const std::atomic<bool>& stop);

}  // namespace unmask
