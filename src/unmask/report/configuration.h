#pragma once

#include <span>
#include <string>
#include <vector>

#include "unmask/report/metrics_reader.h"

namespace unmask {

// One key of the runs' configurations side by side.
struct ConfigurationRow {
  std::string key;                  // dotted: "routing.capacity.max"
  std::vector<std::string> values;  // per run; "" where a run lacks the key
  bool differs = false;
};

// All keys of all runs, in alphabetical order.
std::vector<ConfigurationRow> compare_configurations(std::span<const RunLog> runs);

}  // namespace unmask
