#include "unmask/experiment/claims.h"

#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace unmask {
namespace {

using Relation = Condition::Relation;

Condition condition(double low, double high, Relation relation, double bound) {
  return {.what = "x",
          .value = {.count = 3, .mean = (low + high) / 2, .low = low, .high = high},
          .relation = relation,
          .bound = bound};
}

Verdict verdict(const std::vector<Condition>& conditions) { return verdict_of(conditions); }

TEST(Verdict, AsksForTheWholeInterval) {
  EXPECT_EQ(verdict({condition(1.1, 2, Relation::above, 1)}), Verdict::holds);
  EXPECT_EQ(verdict({condition(0.9, 2, Relation::above, 1)}), Verdict::cannot_be_seen);
  EXPECT_EQ(verdict({condition(0.1, 0.9, Relation::above, 1)}), Verdict::does_not_hold);
  EXPECT_EQ(verdict({condition(1.1, 2, Relation::below, 1)}), Verdict::does_not_hold);
  EXPECT_EQ(verdict({condition(0.9, 2, Relation::below, 1)}), Verdict::cannot_be_seen);
  EXPECT_EQ(verdict({condition(0.1, 0.9, Relation::below, 1)}), Verdict::holds);
}

TEST(Verdict, NeedsAllConditionsAndFailsByOne) {
  const Condition met = condition(2, 3, Relation::above, 1);
  const Condition open = condition(0, 3, Relation::above, 1);
  const Condition broken = condition(0, 0.5, Relation::above, 1);
  EXPECT_EQ(verdict({met, met}), Verdict::holds);
  EXPECT_EQ(verdict({met, open}), Verdict::cannot_be_seen);
  EXPECT_EQ(verdict({open, broken}), Verdict::does_not_hold);
  EXPECT_EQ(verdict({}), Verdict::cannot_be_seen);
}

TEST(Verdict, SeesNothingInOneSeedOrNone) {
  const std::vector<double> one = {5};
  EXPECT_EQ(verdict({{.what = "x", .value = mean_interval(one), .bound = 1}}),
            Verdict::cannot_be_seen);
  EXPECT_EQ(verdict({{.what = "x", .value = mean_interval({}), .bound = 1}}),
            Verdict::cannot_be_seen);
}

TEST(ConditionText, SaysTheNumberAndWhatWasAsked) {
  EXPECT_EQ(condition_text(condition(7, 8, Relation::above, 3)), "x: 7.5 ± 0.5 (asked: above 3)");
  EXPECT_EQ(interval_text({}), "not measured");
}

}  // namespace
}  // namespace unmask
