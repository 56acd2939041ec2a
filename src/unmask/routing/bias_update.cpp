#include "unmask/routing/bias_update.h"

#include <numeric>

namespace unmask {

void add_chosen_load(const Assignment& assignment, const Decision& decision,
                     std::span<int64_t> load) {
  for (int32_t e = 0; e < assignment.experts; ++e) load[e] += assignment.load(e);
  for (const int32_t e : decision.dropped_expert) ++load[e];
}

void update_expert_bias(float rate, std::span<const int64_t> load, std::span<float> bias) {
  const int64_t sum = std::accumulate(load.begin(), load.end(), int64_t{0});
  for (size_t e = 0; e < load.size(); ++e) {
    const int64_t above = load[e] * std::ssize(load) - sum;  // experts times (load - mean)
    if (above != 0) bias[e] += above < 0 ? rate : -rate;
  }
}

}  // namespace unmask
