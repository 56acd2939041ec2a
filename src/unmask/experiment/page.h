#pragma once

#include <string>

#include "unmask/experiment/experiment.h"

namespace unmask {

// One HTML file with an experiment's verdicts, tables and figures, as far as its results go.
std::string render_experiment(const Experiment& experiment, const Results& results);

}  // namespace unmask
