#include "unmask/experiment/figures.h"

#include <cmath>

#include <fmt/format.h>

namespace unmask {

Curve band_curve(const std::string& label, const Band& band) {
  Curve curve{.label = label};
  for (size_t i = 0; i < band.x.size(); ++i) {
    const Interval& y = band.y[i];
    if (!std::isfinite(y.mean) || !std::isfinite(band.x[i])) continue;
    curve.x.push_back(band.x[i]);
    curve.y.push_back(y.mean);
    const bool known = std::isfinite(y.half_width());
    curve.low.push_back(known ? y.low : y.mean);
    curve.high.push_back(known ? y.high : y.mean);
  }
  return curve;
}

Figure arm_figure(const Results& results, std::span<const std::string> arms,
                  const std::string& value, const std::string& title, const std::string& y_label,
                  const std::string& caption) {
  Figure figure{.caption = caption,
                .plot = {.title = title, .x_label = "", .y_label = y_label, .from_zero = false}};
  Band band;
  for (const std::string& arm : arms) {
    const Interval interval = results.interval(arm, value);
    if (!std::isfinite(interval.mean)) continue;
    band.x.push_back(static_cast<double>(figure.plot.x_names.size()));
    band.y.push_back(interval);
    figure.plot.x_names.push_back(results.label(arm));
  }
  Curve curve = band_curve("", band);
  curve.form = Curve::Form::points;
  if (!curve.x.empty()) figure.plot.curves.push_back(std::move(curve));
  return figure;
}

Figure curve_figure(const Results& results, std::span<const std::string> arms,
                    const std::string& curve, const std::string& x, const std::string& y,
                    Plot frame, const std::string& caption) {
  Figure figure{.caption = caption, .plot = std::move(frame)};
  for (const std::string& arm : arms) {
    Curve drawn = band_curve(results.label(arm), results.band(arm, curve, x, y));
    if (!drawn.x.empty()) figure.plot.curves.push_back(std::move(drawn));
  }
  return figure;
}

namespace {

// A row per arm of interval(arm, column).
template <class IntervalOf>
Table table_of(const Results& results, std::span<const std::string> arms, const std::string& title,
               std::span<const ValueColumn> columns, IntervalOf&& interval_of) {
  Table table{.title = title, .head = {"arm"}};
  for (const ValueColumn& column : columns) table.head.push_back(column.head);
  for (const std::string& arm : arms) {
    std::vector<std::string> row = {results.label(arm)};
    bool any = false;
    for (const ValueColumn& column : columns) {
      const Interval interval = interval_of(arm, column);
      any = any || std::isfinite(interval.mean);
      row.push_back(std::isfinite(interval.mean) ? interval_text(interval) : "-");
    }
    if (any) table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

Table arm_table(const Results& results, std::span<const std::string> arms, const std::string& title,
                std::span<const ValueColumn> columns) {
  return table_of(results, arms, title, columns,
                  [&](const std::string& arm, const ValueColumn& column) {
                    std::vector<double> values = results.values(arm, column.value);
                    for (double& value : values) value *= column.factor;
                    return mean_interval(values);
                  });
}

Table difference_table(const Results& results, std::span<const std::string> arms,
                       const std::string& baseline, const std::string& title,
                       std::span<const ValueColumn> columns) {
  std::vector<std::string> others(arms.begin(), arms.end());
  std::erase(others, baseline);
  return table_of(
      results, others, title, columns, [&](const std::string& arm, const ValueColumn& column) {
        return paired_interval(results.values(arm, column.value),
                               results.values(baseline, column.value),
                               [&](double a, double b) { return column.factor * (a - b); });
      });
}

}  // namespace unmask
