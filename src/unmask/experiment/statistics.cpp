#include "unmask/experiment/statistics.h"

#include <numbers>

#include "unmask/base/check.h"

namespace unmask {

double rank_correlation(std::span<const double> x, std::span<const double> y) {
  UNMASK_CHECK(x.size() == y.size());
  double agreement = 0, pairs = 0;
  for (size_t i = 1; i < x.size(); ++i) {
    for (size_t j = 0; j < i; ++j, ++pairs) {
      const double both = (x[i] - x[j]) * (y[i] - y[j]);
      agreement += both > 0 ? 1 : both < 0 ? -1 : 0;
    }
  }
  return agreement / pairs;
}

double student_two_sided(double t, int64_t degrees) {
  UNMASK_CHECK(degrees >= 1);
  const double theta = std::atan(t / std::sqrt(static_cast<double>(degrees)));
  const double cosine = std::cos(theta), squared = cosine * cosine;
  // Terms of 1 + 1/2 cos^2 + 1 3/(2 4) cos^4 + …, or of cos + 2/3 cos^3 + 2 4/(3 5) cos^5 + ….
  const int64_t first = degrees % 2 == 0 ? 0 : 1;
  double term = first == 0 ? 1.0 : cosine, sum = 0;
  for (int64_t power = first; power <= degrees - 2; power += 2) {
    sum += term;
    term *= squared * static_cast<double>(power + 1) / static_cast<double>(power + 2);
  }
  return first == 0 ? std::sin(theta) * sum
                    : 2 / std::numbers::pi * (theta + std::sin(theta) * sum);
}

double student_quantile(double probability, int64_t degrees) {
  UNMASK_CHECK(probability > 0 && probability < 1);
  double low = 0, high = 1;
  while (student_two_sided(high, degrees) < probability) high *= 2;
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) break;
    (student_two_sided(middle, degrees) < probability ? low : high) = middle;
  }
  return high;
}

Interval mean_interval(std::span<const double> values) {
  Interval interval;
  double sum = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++interval.count;
  }
  if (interval.count == 0) return interval;
  const auto n = static_cast<double>(interval.count);
  interval.mean = sum / n;
  if (interval.count == 1) return interval;
  double squares = 0;
  for (const double value : values) {
    if (std::isfinite(value)) squares += (value - interval.mean) * (value - interval.mean);
  }
  const double half =
      student_quantile(0.95, interval.count - 1) * std::sqrt(squares / (n - 1)) / std::sqrt(n);
  interval.low = interval.mean - half;
  interval.high = interval.mean + half;
  return interval;
}

}  // namespace unmask
