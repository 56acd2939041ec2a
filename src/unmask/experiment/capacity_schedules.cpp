#include "unmask/experiment/figures.h"

namespace unmask {
namespace {

constexpr const char* kBest = "linear-reverse";  // the paper's
constexpr const char* kFinalLoss = "train.loss";

Condition worse(const Results& results, const std::string& arm, const std::string& than) {
  return {.what = "loss of " + results.label(arm) + " less that of " + results.label(than),
          .value = paired_interval(results.values(arm, kFinalLoss),
                                   results.values(than, kFinalLoss), difference)};
}

std::vector<Condition> linear_reverse_is_best(const Results& results) {
  std::vector<Condition> conditions;
  for (const std::string& arm : results.arms()) {
    if (arm != kBest) conditions.push_back(worse(results, arm, kBest));
  }
  return conditions;
}

std::vector<Condition> better_than_static(const Results& results) {
  return {worse(results, "static", kBest)};
}

std::vector<Condition> few_masks_deserve_more(const Results& results) {
  return {worse(results, "linear", "linear-reverse"), worse(results, "cosine", "cosine-reverse")};
}

constexpr Claim kScheduleClaims[] = {
    {"A", "section 4, table of schedules: perplexity 36.5 against 37.1",
     "Of equal mean compute, linear-reverse capacity is better than static", better_than_static,
     "Steps with few masks learn fastest (learning-efficiency), so compute is worth most there.",
     "At this length and size the extra experts at low mask ratios do not pay for those taken from "
     "high ones.",
     "What is between the two is less than seeds differ by. The paper's difference is 1.6 % of "
     "the perplexity, 0.016 nats, after 30 billion tokens: an interval that ends below that "
     "excludes it for runs of this length."},
    {"A", "section 4, table of schedules: perplexities 36.5 to 37.6",
     "Linear-reverse is the best of all schedules", linear_reverse_is_best,
     "Every other shape spends less where learning is fastest.",
     "Another shape is at least as good here.",
     "Some shapes are so alike (cosine-reverse is linear-reverse with flat ends) that these "
     "seeds do not tell them apart."},
    {"A", "section 4: linear-reverse before linear, cosine-reverse before cosine",
     "More experts for few masks are better than more experts for many", few_masks_deserve_more,
     "A token with much context has more to be computed about it, and its loss falls faster.",
     "In short runs the high mask ratios still have as much to learn.",
     "The two directions differ by less than seeds do."},
};

}  // namespace

std::span<const Claim> capacity_schedules_claims() { return kScheduleClaims; }

Report capacity_schedules_report(const Results& results) {
  const std::vector<std::string> arms = results.arms();
  const ValueColumn columns[] = {{"validation loss", kFinalLoss},
                                 {"masked 0 to 1/4", "train.bin_1"},
                                 {"1/4 to 1/2", "train.bin_2"},
                                 {"1/2 to 3/4", "train.bin_3"},
                                 {"3/4 to 1", "train.bin_4"},
                                 {"experts per token", "train.experts_per_token"},
                                 {"tokens/s", "train.tokens_per_second"}};
  Report report;
  report.tables = {arm_table(results, arms, "After the last step", columns),
                   difference_table(results, arms, "static", "Less static, seed by seed",
                                    std::span(columns).first(5))};
  report.figures = {
      arm_figure(results, arms, kFinalLoss, "Validation loss after the last step", "nats per token",
                 "All schedules have the same mean of experts per token."),
      curve_figure(results, arms, "train.validation", "step", "loss",
                   {.title = "Validation loss against steps",
                    .x_label = "steps",
                    .y_label = "nats per token",
                    .from_zero = false},
                   "Mean over seeds and its 95 % interval."),
      arm_figure(results, arms, "train.bin_1", "Loss where less than a quarter is masked",
                 "nats per token", "Mean over seeds and its 95 % interval."),
      arm_figure(results, arms, "train.bin_4", "Loss where more than three quarters are masked",
                 "nats per token", "Mean over seeds and its 95 % interval."),
  };
  return report;
}

}  // namespace unmask
