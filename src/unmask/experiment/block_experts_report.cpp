#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "unmask/experiment/block_experts.h"
#include "unmask/experiment/figures.h"

namespace unmask {
namespace {

using namespace block_experts;

// A way to decode: its arm is "TASK-NAME", its sweep is over `key`.
struct Way {
  const char* name;
  const char* key;
};
constexpr Way kWays[] = {{"original", ""},       {"top-k", "k"},     {"des-seq", "k_vote"},
                         {"des-vote", "beta"},   {"pool", "pool"},   {"pool-distilled", "pool"},
                         {"block-experts", "p"}, {"distilled", "p"}, {"from-start", "p"}};

// A row for every setting of every way.
Table ways_table(const Results& results, const std::string& task) {
  Table table{.title = "Every way to decode, " + task,
              .head = {"way", "right, %", "unique experts", "KiB of experts a step", "tokens/s",
                       "ms per forward"}};
  const std::pair<const char*, double> columns[] = {{"accuracy", 100},
                                                    {"unique_experts", 1},
                                                    {"expert_bytes_per_step", 1.0 / 1024},
                                                    {"tokens_per_second", 1},
                                                    {"ms_per_forward", 1}};
  for (const Way& way : kWays) {
    const std::string arm = arm_of(task, way.name);
    for (const double x : results.band(arm, "task.points", "x", "x").x) {
      const bool swept = *way.key != '\0';
      std::vector<std::string> row = {
          swept ? fmt::format("{}, {} = {:.2g}", results.label(arm), way.key, x)
                : results.label(arm)};
      for (const auto& [column, factor] : columns) {
        std::vector<double> values = at_value(results, arm, column, x);
        for (double& value : values) value *= factor;
        row.push_back(interval_text(mean_interval(values)));
      }
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

// Accuracy against unique experts of every way, a curve each.
Figure trade_off(const Results& results, const std::string& task) {
  Figure figure{.caption =
                    "Each way's settings from few experts to many; mean over seeds, accuracy "
                    "with its 95 % interval.",
                .plot = {.title = "Right answers against unique experts, " + task,
                         .x_label = "unique experts of a block, mean over layers and forwards",
                         .y_label = "share of right answers"}};
  for (const Way& way : kWays) {
    const std::string arm = arm_of(task, way.name);
    Band band = results.band(arm, "task.points", "unique_experts", "accuracy");
    std::vector<size_t> order(band.x.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::sort(order, {}, [&](size_t i) { return band.x[i]; });
    Band sorted;
    for (const size_t i : order) {
      sorted.x.push_back(band.x[i]);
      sorted.y.push_back(band.y[i]);
    }
    Curve curve = band_curve(results.label(arm), sorted);
    if (*way.key == '\0') curve.form = Curve::Form::points;
    if (!curve.x.empty()) figure.plot.curves.push_back(std::move(curve));
  }
  return figure;
}

// Arms "TASK-p-P": trained at P, asked at every p of the sweep.
Table grid(const Results& results, const std::string& task, const std::string& column,
           const std::string& what, double factor) {
  Table table{.title = fmt::format("{}, {}: p in training (rows) and in test", what, task),
              .head = {"trained at"}};
  for (const std::string& arm : results.arms()) {
    if (!arm.starts_with(task + "-p-")) continue;
    const Band band = results.band(arm, "task.points", "x", column);
    if (band.x.empty()) continue;
    if (table.head.size() == 1) {
      for (const double p : band.x) table.head.push_back(fmt::format("p = {:.2g}", p));
    }
    std::vector<std::string> row = {arm.substr(task.size() + 1)};
    for (const Interval& y : band.y) {
      row.push_back(std::isfinite(y.mean) ? fmt::format("{:.1f}", factor * y.mean) : "-");
    }
    row.resize(table.head.size(), "-");
    table.rows.push_back(std::move(row));
  }
  return table;
}

Figure by_step(const Results& results, const std::string& task) {
  Figure figure{.caption = "Mean over the answers that have so many steps, and over seeds.",
                .plot = {.title = "Unique experts over the denoising steps, " + task,
                         .x_label = "step of an answer",
                         .y_label = "unique experts of the block"}};
  for (const char* way : {"original", "distilled", "from-start"}) {
    const std::string arm = arm_of(task, way);
    Curve curve = band_curve(results.label(arm),
                             results.band(arm, "task.denoising", "step", "unique_experts"));
    if (!curve.x.empty()) figure.plot.curves.push_back(std::move(curve));
  }
  return figure;
}

Figure importance(const Results& results) {
  Figure figure{.caption =
                    "One layer's experts of such a weight are left out at a time; nats for one "
                    "expert left out of every token.",
                .plot = {.title = "Rise of the loss without an expert, by its router weight",
                         .x_label = "weight",
                         .y_label = "nats per token"}};
  for (const std::string task : kTasks) {
    Curve curve = band_curve(
        task, results.band(arm_of(task, "original"), "leave-out.weights", "weight", "rise"));
    if (!curve.x.empty()) figure.plot.curves.push_back(std::move(curve));
  }
  return figure;
}

// Arms "TASK-block-B".
Table block_sizes(const Results& results, const std::string& task) {
  std::vector<std::string> arms;
  for (const std::string& arm : results.arms()) {
    if (arm.starts_with(task + "-block-") && arm != arm_of(task, "block-experts")) {
      arms.push_back(arm);
    }
  }
  const ValueColumn columns[] = {
      {"right, %", "task.accuracy", 100},
      {"unique experts", "task.unique_experts"},
      {"KiB of experts a step", "task.expert_bytes_per_step", 1.0 / 1024},
      {"tokens/s", "task.tokens_per_second"}};
  return arm_table(results, arms, "Block sizes, " + task, columns);
}

}  // namespace

Report block_experts_report(const Results& results) {
  Report report;
  for (const std::string task : kTasks) {
    for (Table& table : std::array{ways_table(results, task),
                                   grid(results, task, "accuracy", "Right answers, %", 100),
                                   grid(results, task, "unique_experts", "Unique experts", 1),
                                   block_sizes(results, task)}) {
      if (!table.rows.empty()) report.tables.push_back(std::move(table));
    }
    report.figures.push_back(trade_off(results, task));
    report.figures.push_back(by_step(results, task));
  }
  report.figures.push_back(importance(results));
  return report;
}

}  // namespace unmask
