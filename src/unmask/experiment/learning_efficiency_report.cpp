#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "unmask/experiment/figures.h"
#include "unmask/experiment/learning_efficiency.h"
#include "unmask/experiment/run_measures.h"

namespace unmask {
namespace {

constexpr const char* kValidation = "train.validation";

// From here on: before, every bin learns the frequencies of tokens, which need no context.
constexpr double kBegin = 0.25;

std::string bin_name(int32_t bin) {
  constexpr const char* kNames[] = {"masked 0 to 1/4", "1/4 to 1/2", "1/2 to 3/4", "3/4 to 1"};
  return kNames[bin];
}

std::string column_of(int32_t bin) { return fmt::format("{}.bin_{}", kValidation, bin + 1); }

// eta of a bin behind the beginning, by seed.
std::vector<double> efficiency(const Results& results, const std::string& arm, int32_t bin) {
  std::vector<double> eta;
  for (size_t seed = 0; seed < results.seeds().size(); ++seed) {
    const auto step = results.column(arm, std::string(kValidation) + ".step", seed);
    const auto loss = results.column(arm, column_of(bin), seed);
    eta.push_back(step.empty() || loss.size() != step.size()
                      ? std::nan("")
                      : mean_learning_efficiency(step, loss, kBegin * step.back()));
  }
  return eta;
}

Interval ratio_of_ends(const Results& results, const std::string& arm) {
  return paired_interval(efficiency(results, arm, 0), efficiency(results, arm, kMaskBins - 1),
                         quotient);
}

std::vector<Condition> faster(const Results& results) {
  std::vector<Condition> conditions;
  for (const std::string& arm : results.arms()) {
    conditions.push_back(
        {.what = "eta of the lowest quarter over the highest, " + results.label(arm),
         .value = ratio_of_ends(results, arm),
         .bound = 1});
  }
  return conditions;
}

std::vector<Condition> seven_times_faster(const Results& results) {
  std::vector<Condition> conditions = faster(results);
  for (Condition& condition : conditions) condition.bound = 7;
  return conditions;
}

constexpr Claim kEfficiencyClaims[] = {
    {"A", "section 4, learning efficiency", "Low mask ratios learn faster than high ones", faster,
     "With much context there is more to be learned than how often tokens occur.",
     "High mask ratios fall as fast.",
     "The loss at high mask ratios falls so little that its slope is not known."},
    {"A", "section 4, learning efficiency: 7 to 20 times", "They learn seven times as fast or more",
     seven_times_faster,
     "The loss at high mask ratios soon stays near the entropy of the tokens' frequencies, while "
     "that at low ones goes on falling.",
     "Short runs are in the part where context of any length helps: the ratio grows with training.",
     "The loss at high mask ratios falls so little that its slope, by which is divided, is not "
     "known well enough."},
};

Figure eta_figure(const Results& results, const std::string& arm) {
  Figure figure{.caption = "Least squares over the five evaluations around; mean over seeds.",
                .plot = {.title = "Learning efficiency, " + results.label(arm),
                         .x_label = "steps",
                         .y_label = "eta, 1e-4 per step"}};
  constexpr size_t kWindow = 5;
  for (int32_t bin = 0; bin < kMaskBins; ++bin) {
    std::vector<std::vector<double>> rows;
    Band band;
    for (size_t seed = 0; seed < results.seeds().size(); ++seed) {
      const auto step = results.column(arm, std::string(kValidation) + ".step", seed);
      const auto loss = results.column(arm, column_of(bin), seed);
      for (size_t i = 0; i + kWindow <= std::min(step.size(), loss.size()); ++i) {
        const double eta = mean_learning_efficiency(std::span(step).subspan(i, kWindow),
                                                    std::span(loss).subspan(i, kWindow), step[i]);
        if (i == rows.size()) {
          rows.emplace_back();
          band.x.push_back(step[i + kWindow / 2]);
        }
        rows[i].push_back(1e4 * eta);
      }
    }
    for (const auto& row : rows) band.y.push_back(mean_interval(row));
    Curve curve = band_curve(bin_name(bin), band);
    if (!curve.x.empty()) figure.plot.curves.push_back(std::move(curve));
  }
  return figure;
}

Figure bin_figure(const Results& results, const std::string& arm) {
  Figure figure{.caption = "Mean over seeds and its 95 % interval.",
                .plot = {.title = "Loss by mask ratio, " + results.label(arm),
                         .x_label = "steps",
                         .y_label = "nats per token",
                         .from_zero = false}};
  for (int32_t bin = 0; bin < kMaskBins; ++bin) {
    Curve curve = band_curve(
        bin_name(bin), results.band(arm, kValidation, "step", fmt::format("bin_{}", bin + 1)));
    if (!curve.x.empty()) figure.plot.curves.push_back(std::move(curve));
  }
  return figure;
}

}  // namespace

std::span<const Claim> learning_efficiency_claims() { return kEfficiencyClaims; }

Report learning_efficiency_report(const Results& results) {
  Table table{
      .title = "eta behind the first quarter of the steps, 1e-4 per step",
      .head = {"arm", bin_name(0), bin_name(1), bin_name(2), bin_name(3), "lowest over highest"}};
  Report report;
  for (const std::string& arm : results.arms()) {
    std::vector<std::string> row = {results.label(arm)};
    for (int32_t bin = 0; bin < kMaskBins; ++bin) {
      std::vector<double> eta = efficiency(results, arm, bin);
      for (double& value : eta) value *= 1e4;
      row.push_back(interval_text(mean_interval(eta)));
    }
    row.push_back(interval_text(ratio_of_ends(results, arm)));
    table.rows.push_back(std::move(row));
    report.figures.push_back(bin_figure(results, arm));
    report.figures.push_back(eta_figure(results, arm));
  }
  report.tables = {std::move(table)};
  return report;
}

}  // namespace unmask
