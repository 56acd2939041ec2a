#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "unmask/experiment/block_experts.h"
#include "unmask/experiment/experiment.h"

namespace unmask {
namespace {

using namespace block_experts;

constexpr double kTrainedP = 0.4;

// Accuracy of a sweep at a number of unique experts, between its points; beyond them that of the
// nearest.
double accuracy_at(const Results& results, const std::string& arm, size_t seed, double unique) {
  const auto x = results.column(arm, "task.points.unique_experts", seed);
  const auto y = results.column(arm, "task.points.accuracy", seed);
  if (x.empty() || x.size() != y.size() || !std::isfinite(unique)) return std::nan("");
  std::vector<std::pair<double, double>> points;
  for (size_t i = 0; i < x.size(); ++i) points.emplace_back(x[i], y[i]);
  std::ranges::sort(points);
  if (unique <= points.front().first) return points.front().second;
  for (size_t i = 1; i < points.size(); ++i) {
    const auto [x0, y0] = points[i - 1];
    const auto [x1, y1] = points[i];
    if (unique <= x1) return x1 > x0 ? y0 + (y1 - y0) * (unique - x0) / (x1 - x0) : y1;
  }
  return points.back().second;
}

double fewest_experts(const Results& results, const std::string& arm, size_t seed) {
  const auto unique = results.column(arm, "task.points.unique_experts", seed);
  return unique.empty() ? std::nan("") : std::ranges::min(unique);
}

std::vector<Condition> fewer_experts_same_answers(const Results& results) {
  std::vector<Condition> conditions;
  for (const std::string task : kTasks) {
    const std::string original = arm_of(task, "original"), ours = arm_of(task, "distilled");
    conditions.push_back(
        {.what =
             fmt::format("{}: unique experts of the original over {}", task, results.label(ours)),
         .value = paired_interval(results.values(original, "task.unique_experts"),
                                  at_value(results, ours, "unique_experts", kTrainedP), quotient),
         .bound = 3});
    conditions.push_back(
        {.what = fmt::format("{}: accuracy of {} over the original", task, results.label(ours)),
         .value = paired_interval(at_value(results, ours, "accuracy", kTrainedP),
                                  results.values(original, "task.accuracy"), quotient),
         .bound = 0.99});
  }
  return conditions;
}

// Where the p of training is, or where the baseline begins if it does not reach so few experts.
std::vector<Condition> better_than(const Results& results, const std::string& baseline,
                                   const std::string& way = "distilled") {
  std::vector<Condition> conditions;
  for (const std::string task : kTasks) {
    const std::string ours = arm_of(task, way), theirs = arm_of(task, baseline);
    const auto wanted = at_value(results, ours, "unique_experts", kTrainedP);
    const auto gain = by_seed(results, [&](size_t seed) {
      const double unique = std::max(wanted[seed], fewest_experts(results, theirs, seed));
      return accuracy_at(results, ours, seed, unique) - accuracy_at(results, theirs, seed, unique);
    });
    conditions.push_back(
        {.what = fmt::format("{}: accuracy of {} less that of {} at as many unique "
                             "experts",
                             task, results.label(ours), results.label(theirs)),
         .value = mean_interval(gain)});
  }
  return conditions;
}

std::vector<Condition> better_than_des_seq(const Results& results) {
  return better_than(results, "des-seq");
}

std::vector<Condition> better_than_des_vote(const Results& results) {
  return better_than(results, "des-vote");
}

std::vector<Condition> votes_are_better_than_a_pool(const Results& results) {
  std::vector<Condition> conditions = better_than(results, "pool", "block-experts");
  for (Condition& condition : better_than(results, "pool-distilled")) {
    conditions.push_back(std::move(condition));
  }
  return conditions;
}

// Of a sweep's settings that keep 99 % of the original's right answers, the one with the fewest
// unique experts: how many. Where none does, those of the original.
double experts_that_suffice(const Results& results, const std::string& task, const std::string& arm,
                            size_t seed) {
  const auto right = results.values(arm_of(task, "original"), "task.accuracy");
  const auto all = results.values(arm_of(task, "original"), "task.unique_experts");
  const auto unique = results.column(arm, "task.points.unique_experts", seed);
  const auto accuracy = results.column(arm, "task.points.accuracy", seed);
  if (seed >= right.size() || unique.empty() || unique.size() != accuracy.size()) {
    return std::nan("");
  }
  double fewest = all[seed];
  for (size_t i = 0; i < unique.size(); ++i) {
    if (accuracy[i] >= 0.99 * right[seed]) fewest = std::min(fewest, unique[i]);
  }
  return fewest;
}

std::vector<Condition> fewer_experts_than(const Results& results,
                                          std::initializer_list<const char*> baselines) {
  std::vector<Condition> conditions;
  for (const std::string task : kTasks) {
    const std::string ours = arm_of(task, "distilled");
    for (const char* baseline : baselines) {
      const std::string theirs = arm_of(task, baseline);
      const auto ratio = by_seed(results, [&](size_t seed) {
        return experts_that_suffice(results, task, theirs, seed) /
               experts_that_suffice(results, task, ours, seed);
      });
      conditions.push_back({.what = fmt::format("{}: unique experts that {} needs over those that "
                                                "{} needs",
                                                task, results.label(theirs), results.label(ours)),
                            .value = mean_interval(ratio),
                            .bound = 1});
    }
  }
  return conditions;
}

std::vector<Condition> fewer_experts_than_des(const Results& results) {
  return fewer_experts_than(results, {"des-seq", "des-vote"});
}

std::vector<Condition> fewer_experts_than_a_pool(const Results& results) {
  return fewer_experts_than(results, {"pool-distilled"});
}

std::vector<Condition> distillation_helps(const Results& results) {
  std::vector<Condition> conditions;
  for (const std::string task : kTasks) {
    conditions.push_back(
        {.what = task + ": accuracy with self-distillation less without",
         .value = paired_interval(
             at_value(results, arm_of(task, "distilled"), "accuracy", kTrainedP),
             at_value(results, arm_of(task, "block-experts"), "accuracy", kTrainedP), difference)});
  }
  return conditions;
}

std::vector<Condition> block_decodes_faster(const Results& results) {
  std::vector<Condition> conditions;
  for (const std::string task : kTasks) {
    conditions.push_back(
        {.what = task + ": tokens/s with block experts over the original",
         .value = paired_interval(
             at_value(results, arm_of(task, "distilled"), "tokens_per_second", kTrainedP),
             results.values(arm_of(task, "original"), "task.tokens_per_second"), quotient),
         .bound = 1.14});
  }
  return conditions;
}

std::vector<Condition> weight_is_importance(const Results& results) {
  std::vector<Condition> conditions;
  for (const std::string task : kTasks) {
    const std::string original = arm_of(task, "original");
    const auto correlation = by_seed(results, [&](size_t seed) {
      return rank_correlation(results.column(original, "leave-out.weights.weight", seed),
                              results.column(original, "leave-out.weights.rise", seed));
    });
    conditions.push_back({.what = task + ": rank correlation of an expert's weight and the rise of "
                                         "the loss without it",
                          .value = mean_interval(correlation)});
  }
  return conditions;
}

constexpr Claim kBlockClaims[] = {
    {"B", "tables of LLaDA2.0-mini: 70 unique experts to 14, 99.11 % of the accuracy kept",
     "After self-distillation, a block reads a third of the experts or fewer at 99 % of the "
     "accuracy",
     fewer_experts_same_answers,
     "The tokens of a block are about the same thing, and the model learns to do with what they "
     "agree on.",
     "With few tokens in a block, or few experts, there is less to agree on than in a large model.",
     "Accuracy, or the number of experts, differs too much between seeds."},
    {"B", "figure of accuracy against unique experts: 53.8 against 71.0 on MATH500",
     "At as many unique experts it is better than DES-Seq", better_than_des_seq,
     "Each token of DES-Seq brings in its own, so that few unique experts leave every token hardly "
     "any.",
     "DES-Seq loses as little here.",
     "DES-Seq leaves every token its best expert, and where that does most of the work it loses "
     "less than seeds differ by."},
    {"B", "figure of accuracy against unique experts: 53.0 against 71.0 on MATH500",
     "At as many unique experts it is better than DES-Vote", better_than_des_vote,
     "DES-Vote gives every block the same number of experts, needed or not, and was not trained "
     "for it.",
     "DES-Vote loses as little here.",
     "Both are too near to all answers right, or seeds too far apart."},
    {"ours", "of each way's settings the one with the fewest experts counts",
     "To keep 99 % of the right answers it needs fewer unique experts than DES-Seq and DES-Vote",
     fewer_experts_than_des,
     "DES-Seq cannot have fewer than one for every token, and DES-Vote as many for every block as "
     "the hardest needs.",
     "One of them keeps the answers with as few.",
     "Which setting suffices differs too much between seeds."},
    {"ours", "block routing of LLaDA2.2, both trained to it and neither",
     "At as many unique experts it is better than a pool of the largest scores",
     votes_are_better_than_a_pool,
     "An expert that many tokens want somewhat is worth more than one that a single token wants "
     "most.",
     "What one token wants most is worth as much as what many want somewhat, and more to a model "
     "that was not trained to do without; one that was makes do with either.",
     "Both find experts that are about as good."},
    {"ours", "of each way's settings the one with the fewest experts counts",
     "To keep 99 % of the right answers it needs fewer unique experts than a pool of the largest "
     "scores that is trained to it",
     fewer_experts_than_a_pool, "A pool has as many experts for every block as the hardest needs.",
     "A pool keeps the answers with as few.",
     "Which setting suffices differs too much between seeds."},
    {"B", "ablation of self-distillation",
     "Self-distillation improves what block experts alone give", distillation_helps,
     "The model learns which experts it may count on.",
     "The model without distillation does not lose what could be gained.",
     "What is lost without distillation is too little to be seen."},
    {"B", "latency 1.14 to 1.66 times", "Decoding becomes 1.14 times as fast or more",
     block_decodes_faster, "Fewer experts' weights are read for each step.",
     "All experts of a model of this size lie in the processor's cache, so that reading fewer "
     "saves nothing but the work of small matrices.",
     "Times of the two differ by about as much as runs do."},
    {"B", "motivation", "The router's weight says how much an expert matters", weight_is_importance,
     "What is multiplied by more changes the sum by more, and the router has learned which that "
     "should be.",
     "Leaving out an expert of small weight costs as much.",
     "Few tokens give an expert most of their weight, and without it the loss may rise by "
     "anything."},
};

}  // namespace

std::span<const Claim> block_experts_claims() { return kBlockClaims; }

}  // namespace unmask
