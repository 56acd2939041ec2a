#include <algorithm>
#include <cmath>

#include "unmask/experiment/figures.h"

namespace unmask {
namespace {

constexpr const char* kExperts = "expert-choice";
constexpr const char* kTokens = "dropless-switch";
constexpr const char* kRanks8 = "train.throughput_8";
constexpr const char* kRanks64 = "train.throughput_64";

// The token-choice arms whose loads are balanced by anything.
std::vector<std::string> balanced(const Results& results) {
  std::vector<std::string> arms = results.arms();
  std::erase_if(arms,
                [](const std::string& arm) { return arm == kExperts || arm.ends_with("-none"); });
  return arms;
}

// The form of token choice whose loss is lowest on average. (The lowest of each seed would be the
// best of several draws of the noise, which expert choice has but one of.)
std::string best_token_choice(const Results& results) {
  std::string best = kTokens;
  for (const std::string& arm : results.arms()) {
    if (arm == kExperts) continue;
    if (results.interval(arm, "train.loss").mean < results.interval(best, "train.loss").mean) {
      best = arm;
    }
  }
  return best;
}

// Where the falling curve first reaches `loss`, between evaluations; NaN where it does not.
double first_reach(const std::vector<double>& x, const std::vector<double>& y, double loss) {
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    if (!(y[i] <= loss)) continue;
    if (i == 0) return x[0];
    return x[i - 1] + (x[i] - x[i - 1]) * (y[i - 1] - loss) / (y[i - 1] - y[i]);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// How many times the tokens of expert choice dropless token choice needs for the lowest loss that
// both reach, seed by seed.
std::vector<double> token_ratio(const Results& results) {
  std::vector<double> ratios;
  for (size_t seed = 0; seed < results.seeds().size(); ++seed) {
    const auto loss = [&](const std::string& arm) {
      return results.column(arm, "train.validation.loss", seed);
    };
    const auto lowest = [&](const std::string& arm) {
      const std::vector<double> curve = loss(arm);
      return curve.empty() ? std::nan("") : std::ranges::min(curve);
    };
    const double target = std::max(lowest(kTokens), lowest(kExperts));
    const auto tokens = [&](const std::string& arm) {
      return first_reach(results.column(arm, "train.validation.tokens", seed), loss(arm), target);
    };
    ratios.push_back(tokens(kTokens) / tokens(kExperts));
  }
  return ratios;
}

std::vector<Condition> half_the_time(const Results& results) {
  const std::vector<double> tokens = token_ratio(results);
  std::vector<double> time;
  const auto expert = results.values(kExperts, kRanks64);
  const auto token = results.values(kTokens, kRanks64);
  for (size_t i = 0; i < std::min({tokens.size(), expert.size(), token.size()}); ++i) {
    time.push_back(tokens[i] * expert[i] / token[i]);
  }
  return {{.what = "time of dropless token choice over that of expert choice, to the lowest "
                   "loss that both reach, on 64 ranks",
           .value = mean_interval(time),
           .bound = 1.5}};
}

std::vector<Condition> same_quality(const Results& results) {
  std::vector<std::string> arms = {kTokens};
  if (const std::string best = best_token_choice(results); best != kTokens) arms.push_back(best);
  std::vector<Condition> conditions;
  for (const std::string& arm : arms) {
    conditions.push_back({.what = "loss of expert choice over that of " + results.label(arm),
                          .value = paired_interval(results.values(kExperts, "train.loss"),
                                                   results.values(arm, "train.loss"), quotient),
                          .relation = Condition::Relation::below,
                          .bound = 1.01});
  }
  return conditions;
}

std::vector<Condition> balanced_load(const Results& results) {
  std::vector<Condition> conditions = {
      {.what = "load of the busiest expert over the mean, expert choice",
       .value = results.interval(kExperts, "train.load_max_over_mean"),
       .relation = Condition::Relation::below,
       .bound = 1.001}};
  for (const std::string& arm : balanced(results)) {
    conditions.push_back({.what = "the same, " + results.label(arm),
                          .value = results.interval(arm, "train.load_max_over_mean"),
                          .bound = 1.05});
  }
  return conditions;
}

std::vector<Condition> twice_the_throughput(const Results& results) {
  return {{.what = "throughput of expert choice over dropless token choice with a switch loss, 64 "
                   "ranks",
           .value = paired_interval(results.values(kExperts, kRanks64),
                                    results.values(kTokens, kRanks64), quotient),
           .bound = 1.5},
          {.what = "the same, 8 ranks",
           .value = paired_interval(results.values(kExperts, kRanks8),
                                    results.values(kTokens, kRanks8), quotient),
           .bound = 1.05}};
}

constexpr Claim kEcVsTcClaims[] = {
    {"A", "section 3, table of throughputs",
     "Expert choice is balanced by construction; token choice is not, whatever balances it",
     balanced_load,
     "Every expert takes the same number of tokens of a sequence, whatever the router says; a loss "
     "or a bias only pulls token choice towards balance.",
     "At least one form of token choice was as balanced as expert choice.",
     "The loads of some form of token choice are too close to balance to be told apart."},
    {"A", "section 3: 52.1 TFLOP/s against 24.9 (dropless) on their machine",
     "An expert-parallel machine has about twice the throughput with expert choice",
     twice_the_throughput,
     "A layer takes as long as its busiest rank, and the fewer experts a rank holds, the less "
     "their loads even out.",
     "A balanced token choice loses less here than there: with loads averaged over batches only "
     "lasting imbalance counts, and kernels and communication are left out.",
     "The loads of seeds differ by more than the asked factor."},
    {"A", "section 3: perplexities per step",
     "At the same number of steps, expert choice is about as good as token choice", same_quality,
     "Tokens that no expert takes keep the shared expert and the residual, and those that need "
     "more get more.",
     "At this size some form of token choice makes better use of the same number of experts per "
     "token.",
     "Seeds differ by more than one per cent of the loss."},
    {"A", "section 3: loss 3.75 after 10.6 h against 20.7 h (dropless) and 19.9 h (capacity 1.25)",
     "Expert choice reaches a loss in about half the time of token choice", half_the_time,
     "Quality per step is about equal, so that time follows throughput.",
     "Throughput gains less here than there, or token choice needs fewer steps.",
     "How many steps either needs differs too much between seeds."},
};

}  // namespace

std::span<const Claim> ec_vs_tc_claims() { return kEcVsTcClaims; }

Report ec_vs_tc_report(const Results& results) {
  const std::vector<std::string> arms = results.arms();
  const std::vector<std::string> few = {kExperts, kTokens, "capacity-1.25-switch",
                                        "capacity-1.5-switch"};
  const ValueColumn losses[] = {{"validation loss", "train.loss"},
                                {"experts per token", "train.experts_per_token"},
                                {"dropped, %", "train.dropped_share", 100},
                                {"load max / mean", "train.load_max_over_mean"},
                                {"load CV", "train.load_variation"},
                                {"8 ranks", kRanks8},
                                {"64 ranks", kRanks64},
                                {"64 ranks, batch by batch", "train.throughput_64_batchwise"},
                                {"tokens/s here", "train.tokens_per_second"}};
  const auto against = [&](const char* x, const char* x_label) {
    return curve_figure(results, few, "train.validation", x, "loss",
                        {.title = std::string("Validation loss against ") + x_label,
                         .x_label = x_label,
                         .y_label = "nats per token",
                         .from_zero = false},
                        "Mean over seeds and its 95 % interval.");
  };
  Report report;
  report.tables = {arm_table(results, arms, "After the last step", losses)};
  report.figures = {
      against("step", "steps"),
      against("tokens", "tokens"),
      against("seconds", "seconds on this machine"),
      arm_figure(results, arms, "train.loss", "Validation loss after the last step",
                 "nats per token", "Mean over seeds and its 95 % interval."),
      arm_figure(results, arms, "train.load_max_over_mean", "Load of the busiest expert",
                 "times the mean", "Tokens of each expert, averaged over the logged batches."),
      arm_figure(results, arms, kRanks8, "Throughput on 8 ranks", "of perfect balance",
                 "Experts in order on ranks; a layer takes as long as its busiest rank."),
      arm_figure(results, arms, kRanks64, "Throughput on 64 ranks", "of perfect balance",
                 "One expert on each rank."),
      arm_figure(results, arms, "train.dropped_share", "Choices dropped", "share",
                 "Choices that found their expert full."),
  };
  return report;
}

}  // namespace unmask
