#include "unmask/routing/budget.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "unmask/routing/capacity.h"

namespace unmask {
namespace {

using Capacity = RoutingPolicy::Capacity;

// Around the rounded top of a bell or a cosine the interval of a step opens as the square root of
// the scale: of a scale known to 2^-52 it is known to 2^-26, times some, everywhere else to 1e-13.
constexpr double kResolution = 1e-7;
constexpr double kLargestScale = 0x1p40;  // only the place where a shape is 0 is still below max

bool met(double mean, double target) {
  return std::abs(mean - target) <= kResolution * std::max(1.0, std::abs(target));
}

// Where a shape may turn: every schedule is monotonic between two neighbours.
std::vector<double> turning_points(const Capacity& capacity) {
  const Capacity::Interval& interval = capacity.distribution;
  std::vector<double> turns = {interval.low, interval.high};
  const auto add = [&](double r) {
    if (r > interval.low && r < interval.high) turns.push_back(r);
  };
  if (capacity.schedule == Capacity::Schedule::table) {
    for (const auto& point : capacity.points) add(point.mask_ratio);
  } else {
    add(0.5);
  }
  std::sort(turns.begin(), turns.end());
  return turns;
}

// Length of the part of [begin, end] where k(r) >= k; k(r) is monotonic there.
double length_reaching(const Capacity& capacity, int32_t k, double begin, double end) {
  const auto reaches = [&](double r) { return scheduled_experts(capacity, r) >= k; };
  const bool at_begin = reaches(begin), at_end = reaches(end);
  if (at_begin == at_end) return at_begin ? end - begin : 0;
  double same = begin, other = end;
  while (true) {
    const double middle = (same + other) / 2;
    if (middle <= same || middle >= other) break;
    (reaches(middle) == at_begin ? same : other) = middle;
  }
  return at_begin ? same - begin : end - same;
}

}  // namespace

double mean_cost(const Capacity& capacity, const CostOfK& cost) {
  const std::vector<double> turns = turning_points(capacity);
  int32_t least = scheduled_experts(capacity, turns.front()), most = least;
  for (const double r : turns) {
    least = std::min(least, scheduled_experts(capacity, r));
    most = std::max(most, scheduled_experts(capacity, r));
  }
  const double whole = turns.back() - turns.front();
  double mean = cost(least);
  for (int32_t k = least + 1; k <= most; ++k) {
    double length = 0;
    for (size_t i = 0; i + 1 < turns.size(); ++i) {
      length += length_reaching(capacity, k, turns[i], turns[i + 1]);
    }
    mean += (cost(k) - cost(k - 1)) * (length / whole);
  }
  return mean;
}

double mean_experts_per_token(const Capacity& capacity) {
  return mean_cost(capacity, [](int32_t k) { return k; });
}

Result<double> solve_scale(const Capacity& capacity, double target, const CostOfK& cost) {
  Capacity scaled = capacity;
  const auto mean_at = [&](double scale) {
    scaled.scale = scale;
    return mean_cost(scaled, cost);
  };
  if (std::abs(mean_at(1) - target) < 1e-12 * target) return 1.0;
  const double least = mean_at(0), most = mean_at(kLargestScale);
  if (met(most, target)) return kLargestScale;
  if (!(target >= least && target <= most)) {
    return usage_error(
        "expected a mean between {:.10g} and {:.10g}, what scaling the shape between "
        "its min and max can reach, found {:.17g}",
        least, most, target);
  }
  double below = 0, above = 1;
  while (mean_at(above) < target) above *= 2;
  while (true) {
    const double middle = (below + above) / 2;
    if (middle <= below || middle >= above) break;
    (mean_at(middle) < target ? below : above) = middle;
  }
  const double mean_below = mean_at(below), mean_above = mean_at(above);
  const bool take_above = mean_above - target <= target - mean_below;
  if (met(take_above ? mean_above : mean_below, target)) return take_above ? above : below;
  return usage_error(
      "the shape is flat over an interval of mask ratios, whose k changes at once: expected a mean "
      "of {:.10g} or {:.10g}, the nearest that can be met, found {:.17g}",
      mean_below, mean_above, target);
}

Status meet_budget(Capacity& capacity) {
  if (!capacity.mean) return {};
  UNMASK_TRY_STATUS(check_schedule(capacity));
  const auto scale = solve_scale(capacity, *capacity.mean, [](int32_t k) { return k; });
  if (!scale) return usage_error("routing.capacity.mean: {}", scale.error().message);
  capacity.scale = *scale;
  return {};
}

Status check_budget(const Capacity& capacity) {
  if (!capacity.mean) return {};
  const double mean = mean_experts_per_token(capacity);
  if (met(mean, *capacity.mean)) return {};
  return usage_error(
      "routing.capacity: the scale {} gives {} experts per token on average, not mean = {}: call "
      "meet_budget",
      capacity.scale, mean, *capacity.mean);
}

}  // namespace unmask
