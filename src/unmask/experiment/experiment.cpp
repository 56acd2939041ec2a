#include "unmask/experiment/experiment.h"

#include <algorithm>

namespace unmask {

std::span<const Experiment> experiments() {
  static const Experiment kExperiments[] = {
      {"ec-vs-tc", ec_vs_tc_claims(), ec_vs_tc_report},
      {"capacity-schedules", capacity_schedules_claims(), capacity_schedules_report},
      {"learning-efficiency", learning_efficiency_claims(), learning_efficiency_report},
      {"retrofit", retrofit_claims(), retrofit_report},
      {"block-experts", block_experts_claims(), block_experts_report},
  };
  return kExperiments;
}

const Experiment* find_experiment(std::string_view name) {
  const auto found = std::ranges::find(experiments(), name, &Experiment::name);
  return found == experiments().end() ? nullptr : &*found;
}

}  // namespace unmask
