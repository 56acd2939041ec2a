#include "unmask/experiment/experiment.h"

#include <algorithm>

namespace unmask {

std::span<const Experiment> experiments() {
  static const Experiment kExperiments[] = {
      {"ec-vs-tc", ec_vs_tc_claims(), ec_vs_tc_report},
  };
  return kExperiments;
}

const Experiment* find_experiment(std::string_view name) {
  const auto found = std::ranges::find(experiments(), name, &Experiment::name);
  return found == experiments().end() ? nullptr : &*found;
}

}  // namespace unmask
