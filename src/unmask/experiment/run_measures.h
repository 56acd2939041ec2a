#pragma once

#include "unmask/experiment/stage.h"
#include "unmask/report/metrics_reader.h"

namespace unmask {

// The four equal bins of the mask ratio that figures show.
inline constexpr int32_t kMaskBins = 4;

// What a run's log says about it: losses at the end and along the way, sizes, and the load of the
// experts, averaged over the batches whose routing was logged (docs/experiments.md names all).
Measured measure_run(const RunLog& run);

}  // namespace unmask
