#pragma once

#include <span>
#include <string>
#include <vector>

#include "unmask/experiment/results.h"
#include "unmask/experiment/statistics.h"

namespace unmask {

// Something a claim needs to be true of a number.
struct Condition {
  enum class Relation { above, below };
  std::string what;
  Interval value;
  Relation relation = Relation::above;
  double bound = 0;
};

// What the measurements say about a claim, by this rule alone: a condition is met when its whole
// interval is on the asked side of the bound, broken when it is wholly on the other, else open. A
// claim holds when all of its conditions are met, does not hold when any is broken, and cannot be
// seen at this scale otherwise.
enum class Verdict { holds, does_not_hold, cannot_be_seen };
Verdict verdict_of(std::span<const Condition> conditions);
std::string_view name_of(Verdict verdict);

// A claim of a paper and how it is measured. Which sentence explains the result depends on it.
struct Claim {
  const char* paper;   // "A" or "B"
  const char* source;  // section, figure
  const char* text;
  std::vector<Condition> (*conditions)(const Results& results);
  const char* if_holds;
  const char* if_not;
  const char* if_unseen;

  const char* why(Verdict verdict) const;
};

// "ratio 7.41 ± 0.52, asked above 7": numbers to three or four digits.
std::string condition_text(const Condition& condition);
std::string interval_text(const Interval& interval);

}  // namespace unmask
