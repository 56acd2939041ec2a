#include "unmask/experiment/claims.h"

#include <cmath>

#include <fmt/format.h>

namespace unmask {
namespace {

Verdict verdict_of(const Condition& c) {
  if (!std::isfinite(c.value.mean)) return Verdict::cannot_be_seen;
  const bool above = c.relation == Condition::Relation::above;
  if (c.value.low > c.bound) return above ? Verdict::holds : Verdict::does_not_hold;
  if (c.value.high < c.bound) return above ? Verdict::does_not_hold : Verdict::holds;
  return Verdict::cannot_be_seen;
}

}  // namespace

Verdict verdict_of(std::span<const Condition> conditions) {
  bool all = !conditions.empty();
  for (const Condition& condition : conditions) {
    const Verdict verdict = verdict_of(condition);
    if (verdict == Verdict::does_not_hold) return verdict;
    all = all && verdict == Verdict::holds;
  }
  return all ? Verdict::holds : Verdict::cannot_be_seen;
}

std::string_view name_of(Verdict verdict) {
  return verdict == Verdict::holds           ? "holds"
         : verdict == Verdict::does_not_hold ? "does not hold"
                                             : "cannot be seen at this scale";
}

const char* Claim::why(Verdict verdict) const {
  return verdict == Verdict::holds           ? if_holds
         : verdict == Verdict::does_not_hold ? if_not
                                             : if_unseen;
}

std::string interval_text(const Interval& interval) {
  if (!std::isfinite(interval.mean)) return "not measured";
  if (!std::isfinite(interval.half_width())) return fmt::format("{:.4g}", interval.mean);
  return fmt::format("{:.4g} ± {:.2g}", interval.mean, interval.half_width());
}

std::string condition_text(const Condition& condition) {
  return fmt::format("{}: {} (asked: {} {:.4g})", condition.what, interval_text(condition.value),
                     condition.relation == Condition::Relation::above ? "above" : "below",
                     condition.bound);
}

}  // namespace unmask
