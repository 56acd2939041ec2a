#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unmask/experiment/claims.h"
#include "unmask/experiment/results.h"
#include "unmask/report/svg_plot.h"

namespace unmask {

struct Table {
  std::string title;
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows = {};  // each as long as the head
};

struct Figure {
  std::string caption;
  Plot plot;
};

// What the results look like: of a partial run, as far as they go.
struct Report {
  std::vector<Table> tables;
  std::vector<Figure> figures;
};

// What is known about an experiment besides its file: which claims it tests and how its results
// are shown. Each is in a file of its own.
struct Experiment {
  std::string_view name;
  std::span<const Claim> claims;
  Report (*report)(const Results& results);
};

std::span<const Experiment> experiments();
const Experiment* find_experiment(std::string_view name);  // null: none of this name

// Claims and reports of each, for the list in experiment.cpp.
std::span<const Claim> ec_vs_tc_claims();
Report ec_vs_tc_report(const Results& results);
std::span<const Claim> capacity_schedules_claims();
Report capacity_schedules_report(const Results& results);
std::span<const Claim> learning_efficiency_claims();
Report learning_efficiency_report(const Results& results);
std::span<const Claim> retrofit_claims();
Report retrofit_report(const Results& results);
std::span<const Claim> block_experts_claims();
Report block_experts_report(const Results& results);

}  // namespace unmask
