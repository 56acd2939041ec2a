#pragma once

#include <nlohmann/json.hpp>

#include "unmask/checkpoint/training_state.h"
#include "unmask/evaluate/loss.h"
#include "unmask/report/metrics.h"
#include "unmask/train/config.h"
#include "unmask/train/learner.h"

namespace unmask {

// The machine this process runs on.
Machine this_machine();

// What the metrics of a run say about a moment of it.
ConfigEvent config_event(const TrainConfig& config, const nlohmann::json& document);
TrainEvent train_event(const TrainingState& state, const StepReport& report,
                       const TrainConfig& config, double tokens_per_second);
ValidationEvent validation_event(const TrainingState& state, const Evaluation& evaluation);

// Of the last micro-batch the learner has trained on.
RoutingEvent routing_event(const TrainingState& state, Learner& learner);

}  // namespace unmask
