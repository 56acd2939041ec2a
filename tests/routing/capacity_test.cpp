#include "unmask/routing/capacity.h"

#include <cmath>
#include <functional>
#include <numbers>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unmask/base/document.h"
#include "unmask/base/json_text.h"
#include "unmask/routing/budget.h"
#include "unmask/routing/policy_json.h"

// Schedules against their equations, and the budget against a mean taken point by point.
namespace unmask {
namespace {

using Capacity = RoutingPolicy::Capacity;
using enum RoutingPolicy::Capacity::Schedule;

struct Shape {
  Capacity::Schedule schedule;
  std::function<double(double)> s;
};

double bell_curve(double r) {
  const double e0 = std::exp(-1 / (8 * 0.22 * 0.22));
  return (std::exp(-(r - 0.5) * (r - 0.5) / (2 * 0.22 * 0.22)) - e0) / (1 - e0);
}

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {
      {linear, [](double r) { return r; }},
      {linear_reverse, [](double r) { return 1 - r; }},
      {cosine, [](double r) { return (1 - std::cos(std::numbers::pi * r)) / 2; }},
      {cosine_reverse, [](double r) { return (1 + std::cos(std::numbers::pi * r)) / 2; }},
      {bell, [](double r) { return 1 - 4 * (r - 0.5) * (r - 0.5); }},
      {gaussian, bell_curve},
      {gaussian_reverse, [](double r) { return 1 - bell_curve(r); }},
  };
  return all;
}

Capacity of(Capacity::Schedule schedule, int32_t min, int32_t max) {
  return {.schedule = schedule, .min = min, .max = max};
}

Result<RoutingPolicy> policy_with(const std::string& capacity) {
  const auto document = parse_toml("policy = 'expert-choice'\n[capacity]\n" + capacity, "p.toml");
  EXPECT_TRUE(document.ok()) << document.error().message;
  return policy_from_json(*document);
}

std::string capacity_error(const std::string& capacity, int32_t experts = 64) {
  const auto policy = policy_with(capacity);
  if (!policy.ok()) return policy.error().message;
  const Status status = check_capacity(*policy, experts);
  return status.ok() ? "" : status.error().message;
}

// The mean of the k that sequences are given, over the middles of n equal parts of the interval.
double plain_mean(const Capacity& capacity, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto [low, high] = capacity.distribution;
    const double at = (static_cast<double>(i) + 0.5) / static_cast<double>(n);
    sum += scheduled_experts(capacity, low + (high - low) * at);
  }
  return sum / static_cast<double>(n);
}

// Each of at most 2 (max - min) ends of steps lies in one of the parts, which the plain mean counts
// whole.
double plain_error(const Capacity& capacity, int64_t n) {
  return 2.0 * (capacity.max - capacity.min) / static_cast<double>(n);
}

TEST(Capacity, FollowsTheMaskRatio) {
  RoutingPolicy policy = {.policy = RoutingPolicy::Selection::expert_choice,
                          .experts_per_token = 20};
  EXPECT_EQ(experts_per_token(policy, 0.3), 20);
  policy.capacity = of(linear_reverse, 8, 32);
  EXPECT_EQ(experts_per_token(policy, 0.0), 32);
  EXPECT_EQ(experts_per_token(policy, 1.0), 8);
  EXPECT_EQ(experts_per_token(policy, 0.5), 20);
  policy.capacity = of(linear_reverse, 1, 8);  // 4.5 at one half: to even
  EXPECT_EQ(experts_per_token(policy, 0.5), 4);
  EXPECT_EQ(least_experts_per_token(policy), 1);
  EXPECT_EQ(most_experts_per_token(policy), 8);
  EXPECT_EQ(expert_capacity(100, 8, 64), 12);
  EXPECT_EQ(expert_capacity(3, 1, 64), 1);
  EXPECT_EQ(expert_capacity(0, 8, 64), 0);
}

TEST(Capacity, ShapesAreTheirEquations) {
  for (const auto& [schedule, s] : shapes()) {
    const Capacity capacity = of(schedule, 3, 17);
    for (int i = 0; i <= 1000; ++i) {
      const double r = i / 1000.0;
      EXPECT_NEAR(schedule_shape(capacity, r), s(r), 1e-15) << r;
      EXPECT_NEAR(scheduled_experts(capacity, r), 3 + 14 * s(r), 0.5 + 1e-12) << r;
    }
  }
  EXPECT_EQ(schedule_shape(Capacity{}, 0.3), 1);
}

TEST(Capacity, WiderGaussiansAreFlatter) {
  Capacity narrow = of(gaussian, 8, 32), wide = narrow;
  narrow.sigma = 0.1;
  wide.sigma = 0.4;
  for (const double r : {0.1, 0.3, 0.45, 0.8}) {
    EXPECT_LT(schedule_shape(narrow, r), schedule_shape(wide, r));
  }
  EXPECT_EQ(schedule_shape(narrow, 0.5), 1);
  EXPECT_EQ(schedule_shape(narrow, 0), 0);
}

TEST(Capacity, GaussiansOfAnyWidthAreTheirLimits) {
  for (const double sigma : {30.0, 1e4, 1e9, 1e200, 1e308}) {
    for (int i = 0; i <= 100; ++i) {
      const double r = i / 100.0, bell = 1 - 4 * (r - 0.5) * (r - 0.5);
      Capacity capacity = of(gaussian, 8, 32);
      capacity.sigma = sigma;
      // exp(x) = 1 + x + x^2 / 2: what is left out is below (1 / 8 sigma^2) / 2 of the whole.
      const double error = 1e-14 + 1 / (16 * sigma * sigma);
      EXPECT_NEAR(schedule_shape(capacity, r), bell, error) << sigma << " " << r;
      capacity.schedule = gaussian_reverse;
      EXPECT_NEAR(schedule_shape(capacity, r), 1 - bell, error) << sigma << " " << r;
    }
  }
  for (const double sigma : {1e-3, 1e-30, 1e-200, 5e-324}) {
    Capacity capacity = of(gaussian, 8, 32);
    capacity.sigma = sigma;
    EXPECT_EQ(scheduled_experts(capacity, 0.5), 32) << sigma;
    for (const double r : {0.0, 0.2, 0.49, 0.51, 1.0}) {
      EXPECT_EQ(scheduled_experts(capacity, r), 8) << sigma << " " << r;
    }
  }
}

TEST(Capacity, TablesAreLinearBetweenPointsAndFlatOutside) {
  Capacity capacity = {.schedule = table,
                       .points = {{.mask_ratio = 0.2, .k = 30}, {0.4, 10}, {0.8, 12.5}}};
  for (const auto& [r, k] : {std::pair{0.0, 30},
                             {0.2, 30},
                             {0.3, 20},
                             {0.325, 18},
                             {0.4, 10},
                             {0.6, 11},
                             {0.8, 12},
                             {1.0, 12}}) {
    EXPECT_EQ(scheduled_experts(capacity, r), k) << r;  // 17.5, 11.25, 12.5: to even
  }
  EXPECT_EQ(schedule_shape(capacity, 0), 1);
  EXPECT_DOUBLE_EQ(schedule_shape(capacity, 0.3), 0.5);
  EXPECT_EQ(schedule_shape(capacity, 0.4), 0);
  const RoutingPolicy policy = {.policy = RoutingPolicy::Selection::expert_choice,
                                .capacity = capacity};
  EXPECT_EQ(least_experts_per_token(policy), 10);
  EXPECT_EQ(most_experts_per_token(policy), 30);
  EXPECT_TRUE(check_capacity(policy, 30).ok());
  EXPECT_FALSE(check_capacity(policy, 29).ok());

  capacity.min = 12;  // bounds, where a table has any
  capacity.max = 24;
  EXPECT_EQ(scheduled_experts(capacity, 0.0), 24);
  EXPECT_EQ(scheduled_experts(capacity, 0.4), 12);
  EXPECT_EQ(scheduled_experts(capacity, 0.3), 20);

  // A table of two points is the line between them.
  const Capacity line = {.schedule = table, .points = {{.mask_ratio = 0, .k = 32}, {1, 8}}};
  for (int i = 0; i <= 512; ++i) {
    EXPECT_EQ(scheduled_experts(line, i / 512.0),
              scheduled_experts(of(linear_reverse, 8, 32), i / 512.0));
  }
}

// The paper's comparison at matched compute: 20 of [8, 32], the gaussians 20.03 and 19.97.
TEST(Capacity, SchedulesSpendTheSameOnAverage) {
  for (const auto& [schedule, s] : shapes()) {
    const double mean = mean_experts_per_token(of(schedule, 8, 32));
    const bool is_bell = schedule == bell;
    const double expected = is_bell                        ? 24
                            : schedule == gaussian         ? 20.03
                            : schedule == gaussian_reverse ? 19.97
                                                           : 20;
    EXPECT_NEAR(mean, expected, 0.05) << static_cast<int>(schedule);
  }
}

TEST(Budget, MeansAreThoseOfSequences) {
  constexpr int64_t kParts = 200'000;
  for (const auto& [schedule, s] : shapes()) {
    for (const Capacity::Interval interval : {Capacity::Interval{0, 1}, {0.3, 0.8}, {0.6, 0.61}}) {
      Capacity capacity = of(schedule, 2, 9);
      capacity.distribution = interval;
      EXPECT_NEAR(mean_experts_per_token(capacity), plain_mean(capacity, kParts),
                  plain_error(capacity, kParts));
    }
  }
}

TEST(Budget, MeetsTheMeanExactly) {
  constexpr int64_t kParts = 200'000;
  std::vector<Capacity> all;
  for (const auto& [schedule, s] : shapes()) all.push_back(of(schedule, 8, 32));
  all.push_back({.schedule = table,
                 .min = 8,
                 .max = 32,
                 .points = {{.mask_ratio = 0, .k = 25}, {0.3, 8}, {0.7, 20}, {1, 31}}});
  for (Capacity capacity : all) {
    for (const Capacity::Interval interval : {Capacity::Interval{0, 1}, {0.3, 0.8}}) {
      for (const double mean : {9.0, 12.25, 20.0, 25.0, 31.0}) {
        capacity.distribution = interval;
        capacity.mean = mean;
        capacity.scale = 1;
        SCOPED_TRACE(fmt::format("schedule {}, mean {} over [{}, {}]",
                                 static_cast<int>(capacity.schedule), mean, interval.low,
                                 interval.high));
        const Status status = meet_budget(capacity);
        ASSERT_TRUE(status.ok()) << status.error().message;
        EXPECT_TRUE(check_budget(capacity).ok());
        EXPECT_NEAR(mean_experts_per_token(capacity), mean, 1e-11);
        EXPECT_NEAR(plain_mean(capacity, kParts), mean, plain_error(capacity, kParts));
        for (int i = 0; i <= 100; ++i) {
          EXPECT_GE(scheduled_experts(capacity, i / 100.0), 8);
          EXPECT_LE(scheduled_experts(capacity, i / 100.0), 32);
          EXPECT_LE(schedule_shape(capacity, i / 100.0), 1);
        }
      }
    }
  }
}

TEST(Budget, MeetsItsLargestMean) {
  Capacity capacity = {.schedule = Capacity::Schedule::linear, .min = 8, .max = 32};
  for (const double mean : {32.0, 32.5, std::nan("")}) {
    capacity.mean = mean;
    EXPECT_EQ(meet_budget(capacity).ok(), mean == 32.0) << mean;
  }
}

TEST(Budget, LeavesAShapeAloneThatMeetsItsMean) {
  Capacity capacity = of(linear_reverse, 8, 32);
  capacity.mean = 20;
  ASSERT_TRUE(meet_budget(capacity).ok());
  EXPECT_EQ(capacity.scale, 1);
}

TEST(Budget, CostsNeedNotBeLinearInK) {
  // What whole capacities leave of k: max(1, floor(100 k / 64)) tokens for each of 64 experts.
  const CostOfK cost = [](int32_t k) {
    return static_cast<double>(expert_capacity(100, k, 64)) * 64 / 100;
  };
  Capacity capacity = of(cosine_reverse, 4, 16);
  const auto scale = solve_scale(capacity, 7.5, cost);
  ASSERT_TRUE(scale.ok()) << scale.error().message;
  capacity.scale = *scale;
  constexpr int64_t kParts = 200'000;
  double sum = 0;
  for (int64_t i = 0; i < kParts; ++i) {
    sum += cost(scheduled_experts(capacity, (static_cast<double>(i) + 0.5) / kParts));
  }
  EXPECT_NEAR(sum / kParts, 7.5, plain_error(capacity, kParts));
}

TEST(Budget, RefusesWhatCannotBeMet) {
  const std::string shape = "schedule = 'linear'\nmin = 8\nmax = 32\n";
  EXPECT_EQ(capacity_error(shape + "mean = 20.5"), "");
  EXPECT_EQ(capacity_error(shape + "mean = 40"),
            "routing.capacity.mean: expected a mean between 8 and 32, what scaling the shape "
            "between its min and max can reach, found 40");
  EXPECT_NE(capacity_error(shape + "mean = 7.5"), "");
  EXPECT_NE(capacity_error("mean = 20").find("static"), std::string::npos);
  const std::string flat = capacity_error(
      "schedule = 'table'\nmax = 32\npoints = [[0, 8], [0.25, 8], [0.250001, 20], [1, 20]]\n"
      "mean = 18.3");
  EXPECT_NE(flat.find("the nearest that can be met"), std::string::npos) << flat;
  RoutingPolicy policy = {.policy = RoutingPolicy::Selection::expert_choice,
                          .capacity = of(bell, 8, 32)};
  policy.capacity->mean = 20;
  const Status unsolved = check_capacity(policy, 64);
  ASSERT_FALSE(unsolved.ok());
  EXPECT_NE(unsolved.error().message.find("meet_budget"), std::string::npos);
}

// Before the mean of so many levels is taken.
TEST(Budget, RefusesMoreExpertsThanAnyModelHas) {
  const std::string linear = "schedule = 'linear'\nmin = 1\nmean = 5\nmax = ";
  EXPECT_EQ(capacity_error(linear + "2000000000"),
            "routing.capacity: up to 2000000000 experts per token: expected at most 16384 (the "
            "most that a model can have)");
  EXPECT_EQ(capacity_error(linear + "16384", 16384), "");
  EXPECT_NE(
      capacity_error("schedule = 'table'\npoints = [[0, 1], [1, 1e300]]\nmean = 5").find("16384"),
      std::string::npos);
}

TEST(Capacity, RefusesWhatIsNoSchedule) {
  const auto names = [](const std::string& text, const std::string& key, int32_t experts = 64) {
    const std::string error = capacity_error(text, experts);
    EXPECT_NE(error.find(key), std::string::npos) << text << " -> " << error;
  };
  EXPECT_EQ(capacity_error("schedule = 'bell'\nmin = 8\nmax = 64"), "");
  names("schedule = 'bell'\nmin = 8\nmax = 65", "at most 64");
  names("schedule = 'bell'\nmin = 9\nmax = 8", "min = 9, max = 8");
  names("schedule = 'bell'\nmin = 9", "max = 0");
  names("schedule = 'gaussian'\nmin = 1\nmax = 8\nsigma = 0.0", "sigma");
  names("schedule = 'bell'\nmin = 1\nmax = 8\ndistribution = [0.5, 0.5]", "distribution");
  names("schedule = 'bell'\nmin = 1\nmax = 8\ndistribution = [0.5]", "distribution");
  names("points = [[0, 3]]", "schedule = \"table\" beside the points");
  EXPECT_EQ(capacity_error("schedule = 'bell'\nmin = 1\nmax = 8\npoints = [[0, 3]]"), "")
      << "like sigma, kept for another schedule";
  names("schedule = 'table'", "points");
  names("schedule = 'table'\npoints = [[0, 3], [0.5]]", "points");
  names("schedule = 'table'\npoints = [[0, 3], [1.5, 4]]", "points[1]");
  names("schedule = 'table'\npoints = [[0.5, 3], [0.5, 4]]", "ascending");
  names("schedule = 'table'\npoints = [[0, 0.5]]", "points[0]");
  names("schedule = 'table'\npoints = [[0, 65]]", "at most 64");
  names("schedule = 'belt'\nmin = 1\nmax = 8", "did you mean \"bell\"");
}

TEST(Capacity, FilesRoundTrip) {
  const auto policy = policy_with(
      "schedule = 'table'\nmin = 8\nmax = 32\npoints = [[0.1, 30.5], [0.9, 8]]\nmean = 15.25\n"
      "distribution = [0.2, 0.7]\nsigma = 0.3");
  ASSERT_TRUE(policy.ok()) << policy.error().message;
  EXPECT_NE(policy->capacity->scale, 1);
  const auto again = policy_from_json(json_in(to_text(to_json(*policy))));
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(*again, *policy);
}

}  // namespace
}  // namespace unmask
