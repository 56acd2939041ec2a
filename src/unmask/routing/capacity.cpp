#include "unmask/routing/capacity.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include "unmask/routing/budget.h"

namespace unmask {
namespace {

using Capacity = RoutingPolicy::Capacity;
using Schedule = Capacity::Schedule;

bool by_k(const Capacity::Point& a, const Capacity::Point& b) { return a.k < b.k; }

// Experts per token at the lowest and the highest place of the shape.
struct Bounds {
  double low;
  double high;
};

Bounds bounds_of(const Capacity& capacity) {
  Bounds bounds = {static_cast<double>(capacity.min), static_cast<double>(capacity.max)};
  if (capacity.schedule != Schedule::table) return bounds;
  const auto& points = capacity.points;
  if (capacity.min == 0) bounds.low = std::min_element(points.begin(), points.end(), by_k)->k;
  if (capacity.max == 0) bounds.high = std::max_element(points.begin(), points.end(), by_k)->k;
  return bounds;
}

// 1 at r = 1/2, 0 at both ends. The difference of exponentials is taken by expm1, which does not
// cancel where the curve is wide; wider or narrower ones look like these, bell and spike.
double gaussian(double r, double sigma) {
  const double width = std::clamp(sigma, 1e-100, 1e7);
  const auto exponent = [width](double distance) {
    const double x = distance / width;
    return x * x / 2;
  };
  const double here = exponent(r - 0.5), end = exponent(0.5);
  return std::exp(-here) * std::expm1(here - end) / std::expm1(-end);
}

// Linear between neighbouring points, constant outside of them.
double interpolate(const std::vector<Capacity::Point>& points, double r) {
  const auto right =
      std::upper_bound(points.begin(), points.end(), r,
                       [](double x, const Capacity::Point& point) { return x < point.mask_ratio; });
  if (right == points.begin()) return points.front().k;
  if (right == points.end()) return points.back().k;
  const auto left = right - 1;
  return left->k +
         (right->k - left->k) * (r - left->mask_ratio) / (right->mask_ratio - left->mask_ratio);
}

// s(r) of the schedules with an equation, before the budget's scale.
double equation(const Capacity& capacity, double r) {
  switch (capacity.schedule) {
    case Schedule::constant:
    case Schedule::table:  // has points instead
      break;
    case Schedule::linear:
      return r;
    case Schedule::linear_reverse:
      return 1 - r;
    case Schedule::cosine:
      return (1 - std::cos(std::numbers::pi * r)) / 2;
    case Schedule::cosine_reverse:
      return (1 + std::cos(std::numbers::pi * r)) / 2;
    case Schedule::bell:
      return 1 - 4 * (r - 0.5) * (r - 0.5);
    case Schedule::gaussian:
      return gaussian(r, capacity.sigma);
    case Schedule::gaussian_reverse:
      return 1 - gaussian(r, capacity.sigma);
  }
  return 1;
}

// min + (max - min) s(r), not yet rounded.
double level(const Capacity& capacity, double r) {
  const auto [low, high] = bounds_of(capacity);
  // A table says k itself: the way through s(r) would move its halves.
  const double above = capacity.schedule == Schedule::table
                           ? std::max(0.0, interpolate(capacity.points, r) - low)
                           : (high - low) * equation(capacity, r);
  return std::clamp(low + capacity.scale * above, low, high);
}

Status check_most(double k, int32_t experts, std::string_view which) {
  if (k <= experts) return {};
  return usage_error("routing.capacity: up to {} experts per token: expected at most {} ({})", k,
                     experts, which);
}

Status check_bounds(const Capacity& capacity) {
  const auto [low, high] = bounds_of(capacity);
  if (capacity.schedule != Schedule::table && !(capacity.min >= 1 && low <= high)) {
    return usage_error(
        "routing.capacity: min = {}, max = {}: expected 1 <= min <= max <= the experts",
        capacity.min, capacity.max);
  }
  if (low > high) {
    return usage_error("routing.capacity: k between {} and {}: expected min <= max", low, high);
  }
  return check_most(high, kMostExperts, "the most that a model can have");
}

Status check_points(const Capacity& capacity) {
  const auto& points = capacity.points;
  if (capacity.schedule != Schedule::table) return {};
  if (points.empty()) {
    return usage_error(
        "routing.capacity.points: expected one or more points [mask ratio, k], as in "
        "[[0.0, 32], [1.0, 8]]");
  }
  for (size_t i = 0; i < points.size(); ++i) {
    const auto [r, k] = points[i];
    if (!(r >= 0 && r <= 1)) {
      return usage_error(
          "routing.capacity.points[{}]: expected a mask ratio between 0 and 1, found {}", i, r);
    }
    if (i > 0 && !(r > points[i - 1].mask_ratio)) {
      return usage_error(
          "routing.capacity.points[{}]: expected ascending mask ratios, found {} after {}", i, r,
          points[i - 1].mask_ratio);
    }
    if (!(k >= 1)) {
      return usage_error(
          "routing.capacity.points[{}]: expected 1 expert per token or more, found {}", i, k);
    }
  }
  return {};
}

}  // namespace

bool varies(const RoutingPolicy& policy) {
  return policy.capacity && policy.capacity->schedule != Schedule::constant;
}

double schedule_shape(const Capacity& capacity, double mask_ratio) {
  if (capacity.schedule != Schedule::table) {
    return std::clamp(capacity.scale * equation(capacity, mask_ratio), 0.0, 1.0);
  }
  const auto [low, high] = bounds_of(capacity);
  return low == high ? 1 : (level(capacity, mask_ratio) - low) / (high - low);
}

int32_t scheduled_experts(const Capacity& capacity, double mask_ratio) {
  // nearbyint rounds halves to even in the default rounding mode.
  return static_cast<int32_t>(std::nearbyint(level(capacity, mask_ratio)));
}

int32_t experts_per_token(const RoutingPolicy& policy, double mask_ratio) {
  return varies(policy) ? scheduled_experts(*policy.capacity, mask_ratio)
                        : policy.experts_per_token;
}

int32_t least_experts_per_token(const RoutingPolicy& policy) {
  return varies(policy) ? static_cast<int32_t>(std::nearbyint(bounds_of(*policy.capacity).low))
                        : policy.experts_per_token;
}

int32_t most_experts_per_token(const RoutingPolicy& policy) {
  return varies(policy) ? static_cast<int32_t>(std::nearbyint(bounds_of(*policy.capacity).high))
                        : policy.experts_per_token;
}

int64_t expert_capacity(int64_t tokens, int32_t experts_per_token, int32_t experts) {
  if (tokens == 0) return 0;
  return std::max<int64_t>(1, tokens * experts_per_token / experts);
}

Status check_schedule(const Capacity& capacity) {
  if (capacity.schedule == Schedule::constant) {
    if (!capacity.mean) return {};
    return usage_error(
        "routing.capacity.mean: schedule = \"static\" has no shape to scale, its k is "
        "routing.experts_per_token; remove the key or take another schedule");
  }
  UNMASK_TRY_STATUS(check_points(capacity));
  UNMASK_TRY_STATUS(check_bounds(capacity));
  if (!(capacity.sigma > 0)) {
    return usage_error("routing.capacity.sigma: expected a positive number, found {}",
                       capacity.sigma);
  }
  const auto [low, high] = capacity.distribution;
  if (!(low >= 0 && low < high && high <= 1)) {
    return usage_error(
        "routing.capacity.distribution: expected 0 <= low < high <= 1, found [{}, {}]", low, high);
  }
  return {};
}

Status check_capacity(const RoutingPolicy& policy, int32_t experts) {
  if (!policy.capacity) return {};
  UNMASK_TRY_STATUS(check_schedule(*policy.capacity));
  if (!varies(policy)) return {};
  UNMASK_TRY_STATUS(check_most(bounds_of(*policy.capacity).high, experts, "the experts"));
  return check_budget(*policy.capacity);
}

}  // namespace unmask
