#include "unmask/report/metrics.h"

#include <algorithm>
#include <cmath>

namespace unmask {

std::vector<double> merge_bins(const ValidationEvent& event, size_t parts) {
  std::vector<double> loss(parts, 0), count(parts, 0);
  const size_t bins = std::min(event.bin_loss.size(), event.bin_count.size());
  for (size_t i = 0; i < bins; ++i) {
    if (!std::isfinite(event.bin_loss[i])) continue;
    const size_t part = i * parts / bins;
    const auto weight = static_cast<double>(event.bin_count[i]);
    loss[part] += weight * event.bin_loss[i];
    count[part] += weight;
  }
  for (size_t i = 0; i < parts; ++i) loss[i] = count[i] > 0 ? loss[i] / count[i] : kNotMeasured;
  return loss;
}

}  // namespace unmask
