#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "unmask/report/metrics_reader.h"

namespace unmask {

// A run in a dozen numbers; NaN where the log does not say.
struct RunSummary {
  std::string status;  // the reason of the end event, or "not ended"
  int64_t parameters = 0;
  int64_t active_parameters = 0;
  double flops_per_token = kNotMeasured;
  int64_t steps = 0;
  int64_t tokens = 0;
  double seconds = 0;
  double training_loss = kNotMeasured;    // mean of the last twentieth of the steps logged
  double validation_loss = kNotMeasured;  // the last
  double best_loss = kNotMeasured;        // the lowest validation loss
  int64_t best_step = 0;
  double perplexity = kNotMeasured;         // of the last validation
  double tokens_per_second = kNotMeasured;  // median
  double experts_per_token = kNotMeasured;  // last routing event, mean over layers
  double load_imbalance = kNotMeasured;     // last routing event, max/mean load, mean over layers
  int64_t memory_bytes = 0;                 // most
};

RunSummary summarize(const RunLog& run);

// Mean over the routed layers of one number of theirs, NaN left out.
double mean_over_layers(const RoutingEvent& event, double LayerRouting::*number);

// One name per run: the directory's own name, with as many of the directories above it as it takes
// to tell the runs apart.
std::vector<std::string> run_names(std::span<const std::string> directories);

// A text table for the terminal: one column per run, one row per number; rows that no run can fill
// are left out. Ends in a newline.
std::string summary_table(std::span<const RunLog> runs);

}  // namespace unmask
