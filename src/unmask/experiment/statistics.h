#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace unmask {

// A mean over seeds, and where the true mean is with 95 % probability if the values are normal:
// mean ± t s / sqrt(n), t the 97.5 % point of Student's distribution with n - 1 degrees of freedom.
// Of one value nothing is known but itself: the interval is the whole line. Of none the mean is
// NaN.
struct Interval {
  int64_t count = 0;
  double mean = std::numeric_limits<double>::quiet_NaN();
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();

  double half_width() const { return std::isinf(high) ? high : (high - low) / 2; }
};

// Values that are not finite are left out.
Interval mean_interval(std::span<const double> values);

// f(a[i], b[i]) seed by seed, where both are there: what two arms differ by is known better than
// either, because they share data order, noise and initialisation.
template <class F>
Interval paired_interval(std::span<const double> a, std::span<const double> b, F&& f) {
  std::vector<double> values;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) values.push_back(f(a[i], b[i]));
  return mean_interval(values);
}

inline double difference(double a, double b) { return a - b; }
inline double quotient(double a, double b) { return a / b; }

// Kendall's tau: of all pairs (i, j) the share in which x and y rise together, less the share in
// which one rises and the other falls. NaN where there are no pairs.
double rank_correlation(std::span<const double> x, std::span<const double> y);

// Probability that |T| <= t, T Student's with `degrees` >= 1 degrees of freedom (Abramowitz and
// Stegun 26.7.3 and 26.7.4, exact).
double student_two_sided(double t, int64_t degrees);

// The t with student_two_sided(t, degrees) = probability, 0 < probability < 1.
double student_quantile(double probability, int64_t degrees);

}  // namespace unmask
