#include "unmask/report/summary.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>

#include "unmask/base/readable.h"
#include "unmask/base/utf8.h"

namespace unmask {
namespace fs = std::filesystem;
namespace {

// Mean of the finite values.
class Mean {
 public:
  void add(double value) {
    if (!std::isfinite(value)) return;
    sum_ += value;
    ++count_;
  }
  double value() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : kNotMeasured; }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

double median_tokens_per_second(const std::vector<TrainEvent>& events) {
  std::vector<double> values;
  for (const TrainEvent& event : events) {
    if (std::isfinite(event.tokens_per_second)) values.push_back(event.tokens_per_second);
  }
  if (values.empty()) return kNotMeasured;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

template <class Event>
void advance_clock(RunSummary& summary, const std::vector<Event>& events) {
  if (events.empty()) return;
  summary.steps = std::max(summary.steps, events.back().step);
  summary.tokens = std::max(summary.tokens, events.back().tokens);
  summary.seconds = std::max(summary.seconds, events.back().seconds);
}

// The last `parts` parts of a path.
std::string tail(const fs::path& path, size_t parts) {
  fs::path result;
  fs::path rest = path;
  for (size_t i = 0; i < parts && rest.has_filename(); ++i) {
    result = result.empty() ? rest.filename() : rest.filename() / result;
    rest = rest.parent_path();
  }
  return result.empty() ? path.string() : result.string();
}

fs::path plain_path(const std::string& directory) {
  std::error_code code;
  fs::path path = fs::absolute(directory, code).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

struct Row {
  const char* label;
  std::string (*text)(const RunSummary&);
};

std::string fixed(double value, int decimals) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : "-";
}

std::string count_or_dash(int64_t value) {
  return value > 0 ? readable_count(static_cast<double>(value)) : "-";
}

constexpr Row kRows[] = {
    {"status", [](const RunSummary& s) { return s.status; }},
    {"parameters", [](const RunSummary& s) { return count_or_dash(s.parameters); }},
    {"  active per token", [](const RunSummary& s) { return count_or_dash(s.active_parameters); }},
    {"steps", [](const RunSummary& s) { return readable_integer(s.steps); }},
    {"tokens", [](const RunSummary& s) { return count_or_dash(s.tokens); }},
    {"time", [](const RunSummary& s) { return readable_duration(s.seconds); }},
    {"tokens/s", [](const RunSummary& s) { return readable_count(s.tokens_per_second); }},
    {"memory",
     [](const RunSummary& s) { return s.memory_bytes > 0 ? readable_bytes(s.memory_bytes) : "-"; }},
    {"training loss", [](const RunSummary& s) { return fixed(s.training_loss, 4); }},
    {"validation loss", [](const RunSummary& s) { return fixed(s.validation_loss, 4); }},
    {"  best",
     [](const RunSummary& s) {
       return std::isfinite(s.best_loss)
                  ? fmt::format("{:.4f} at {}", s.best_loss, readable_integer(s.best_step))
                  : "-";
     }},
    {"perplexity", [](const RunSummary& s) { return readable_count(s.perplexity); }},
    {"experts per token", [](const RunSummary& s) { return fixed(s.experts_per_token, 2); }},
    {"load max/mean", [](const RunSummary& s) { return fixed(s.load_imbalance, 2); }},
};

// Characters, each of which is taken for one column.
size_t columns_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues_character(c); }));
}

// What a terminal would take for more or fewer columns is left out of a name.
std::string without_control_characters(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

}  // namespace

double mean_over_layers(const RoutingEvent& event, double LayerRouting::*number) {
  Mean mean;
  for (const LayerRouting& layer : event.layers) mean.add(layer.*number);
  return mean.value();
}

RunSummary summarize(const RunLog& run) {
  RunSummary summary;
  summary.status = run.end ? run.end->reason : "not ended";
  summary.parameters = run.config.parameters;
  summary.active_parameters = run.config.active_parameters;
  summary.flops_per_token = run.config.flops_per_token;
  advance_clock(summary, run.train);
  advance_clock(summary, run.validation);
  summary.tokens_per_second = median_tokens_per_second(run.train);

  Mean training;
  const size_t last = std::max<size_t>(run.train.size() / 20, 1);
  for (size_t i = run.train.size() - std::min(last, run.train.size()); i < run.train.size(); ++i) {
    training.add(run.train[i].loss);
  }
  summary.training_loss = training.value();
  for (const TrainEvent& event : run.train) {
    summary.memory_bytes = std::max(summary.memory_bytes, event.memory_bytes);
  }
  for (const ValidationEvent& event : run.validation) {
    if (std::isfinite(event.loss) && !(summary.best_loss <= event.loss)) {
      summary.best_loss = event.loss;
      summary.best_step = event.step;
    }
  }
  if (!run.validation.empty()) {
    const ValidationEvent& event = run.validation.back();
    summary.validation_loss = event.loss;
    summary.perplexity = std::isfinite(event.perplexity) ? event.perplexity : std::exp(event.loss);
  }
  if (!run.routing.empty()) {
    const RoutingEvent& event = run.routing.back();
    summary.experts_per_token = mean_over_layers(event, &LayerRouting::experts_per_token_mean);
    summary.load_imbalance = mean_over_layers(event, &LayerRouting::max_over_mean_load);
  }
  return summary;
}

std::vector<std::string> run_names(std::span<const std::string> directories) {
  std::vector<fs::path> paths;
  for (const std::string& directory : directories) paths.push_back(plain_path(directory));
  std::vector<size_t> parts(paths.size(), 1);
  std::vector<std::string> names(paths.size());
  // Equal names take one more part each, until all differ or the paths are used up.
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < paths.size(); ++i) names[i] = tail(paths[i], parts[i]);
    for (size_t i = 0; i < paths.size(); ++i) {
      const bool taken = std::count(names.begin(), names.end(), names[i]) > 1;
      if (taken && tail(paths[i], parts[i] + 1) != names[i]) {
        ++parts[i];
        changed = true;
      }
    }
  }
  return names;
}

std::string summary_table(std::span<const RunLog> runs) {
  std::vector<std::string> directories;
  for (const RunLog& run : runs) directories.push_back(run.directory);
  std::vector<std::vector<std::string>> rows = {{"run"}};
  for (const std::string& name : run_names(directories)) {
    rows[0].push_back(without_control_characters(name));
  }
  std::vector<RunSummary> summaries;
  for (const RunLog& run : runs) summaries.push_back(summarize(run));
  for (const Row& row : kRows) {
    std::vector<std::string> cells = {row.label};
    for (const RunSummary& summary : summaries) {
      cells.push_back(without_control_characters(row.text(summary)));
    }
    const bool empty = std::all_of(cells.begin() + 1, cells.end(),
                                   [](const std::string& cell) { return cell == "-"; });
    if (!empty) rows.push_back(std::move(cells));
  }

  std::vector<size_t> widths(runs.size() + 1, 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i]));
  }
  std::string table;
  for (const auto& row : rows) {
    table += row[0] + std::string(widths[0] - columns_of(row[0]), ' ');
    for (size_t i = 1; i < row.size(); ++i) {
      table += std::string(2 + widths[i] - columns_of(row[i]), ' ') + row[i];
    }
    table += '\n';
  }
  return table;
}

}  // namespace unmask
