#include "unmask/report/metrics.h"

#include <algorithm>
#include <numeric>

namespace unmask {

double max_over_mean(const std::vector<int64_t>& tokens_per_expert) {
  const auto total = static_cast<double>(
      std::accumulate(tokens_per_expert.begin(), tokens_per_expert.end(), int64_t{0}));
  if (total == 0) return kNotMeasured;
  const auto max =
      static_cast<double>(*std::max_element(tokens_per_expert.begin(), tokens_per_expert.end()));
  return max * static_cast<double>(tokens_per_expert.size()) / total;
}

}  // namespace unmask
