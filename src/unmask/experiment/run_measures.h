#pragma once

#include "unmask/experiment/stage.h"
#include "unmask/report/metrics_reader.h"

namespace unmask {

// The four equal bins of the mask ratio that figures show.
inline constexpr int32_t kMaskBins = 4;

// Mean losses of the four bins of a validation event, made of its fine ones.
std::vector<double> coarse_bin_loss(const ValidationEvent& event);

// What a run's log says about it: losses at the end and along the way, sizes, and the load of the
// experts, averaged over the batches whose routing was logged (docs/experiments.md names all).
Measured measure_run(const RunLog& run);

}  // namespace unmask
