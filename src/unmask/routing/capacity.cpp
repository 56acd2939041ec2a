#include "unmask/routing/capacity.h"

#include <algorithm>
#include <cmath>

namespace unmask {
namespace {

using Schedule = RoutingPolicy::Capacity::Schedule;

bool varies(const RoutingPolicy& policy) {
  return policy.capacity && policy.capacity->schedule != Schedule::constant;
}

}  // namespace

double schedule_shape(Schedule schedule, double mask_ratio) {
  switch (schedule) {
    case Schedule::constant:
      break;
    case Schedule::linear_reverse:
      return 1 - mask_ratio;
  }
  return 1;
}

int32_t experts_per_token(const RoutingPolicy& policy, double mask_ratio) {
  if (!varies(policy)) return policy.experts_per_token;
  const auto [schedule, min, max] = *policy.capacity;
  const double k = min + (max - min) * schedule_shape(schedule, mask_ratio);
  // nearbyint rounds halves to even in the default rounding mode.
  return std::clamp(static_cast<int32_t>(std::nearbyint(k)), min, max);
}

int32_t most_experts_per_token(const RoutingPolicy& policy) {
  return varies(policy) ? policy.capacity->max : policy.experts_per_token;
}

int64_t expert_capacity(int64_t tokens, int32_t experts_per_token, int32_t experts) {
  if (tokens == 0) return 0;
  return std::max<int64_t>(1, tokens * experts_per_token / experts);
}

Status check_capacity(const RoutingPolicy& policy, int32_t experts) {
  if (!varies(policy)) return {};
  const auto [schedule, min, max] = *policy.capacity;
  if (min < 1 || max > experts || min > max) {
    return usage_error(
        "routing.capacity: min = {}, max = {}: expected 1 <= min <= max <= {} (the experts)", min,
        max, experts);
  }
  return {};
}

}  // namespace unmask
