#include "unmask/report/page_data.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "unmask/base/json_text.h"
#include "unmask/base/utf8.h"
#include "unmask/report/configuration.h"
#include "unmask/report/decimate.h"
#include "unmask/report/summary.h"

namespace unmask {
namespace {

using nlohmann::json;

// Ten runs of any length stay below 1 MB with these.
constexpr size_t kTrainPoints = 450;
constexpr size_t kValidationPoints = 160;
constexpr size_t kRoutingPoints = 240;
constexpr size_t kHeatCharacters = 250'000;  // of all runs together
constexpr size_t kMostHeatMaps = 40;         // per run
constexpr size_t kMaskRatioBins = 40;
constexpr size_t kSamples = 8;  // per run, the last ones
constexpr size_t kSampleBytes = 1500;

// Five significant digits are more than a screen shows.
json number(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == std::trunc(value) && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  return std::strtod(fmt::format("{:.5g}", value).c_str(), nullptr);
}

json numbers(const std::vector<double>& values) {
  json array = json::array();
  for (const double value : values) array.push_back(number(value));
  return array;
}

json clock_columns(const auto& events, const std::vector<size_t>& rows) {
  json columns = {{"step", json::array()}, {"tokens", json::array()}, {"seconds", json::array()}};
  for (const size_t row : rows) {
    columns["step"].push_back(events[row].step);
    columns["tokens"].push_back(events[row].tokens);
    columns["seconds"].push_back(number(std::round(events[row].seconds * 100) / 100));
  }
  return columns;
}

// Mean, lowest and highest finite value of a piece of a column.
struct Piece {
  double mean = kNotMeasured;
  double low = kNotMeasured;
  double high = kNotMeasured;
};

Piece piece_of(const std::vector<TrainEvent>& events, size_t begin, size_t end,
               double TrainEvent::*column) {
  Piece piece;
  double sum = 0;
  int64_t count = 0;
  for (size_t i = begin; i < end; ++i) {
    const double value = events[i].*column;
    if (!std::isfinite(value)) continue;
    piece.low = count == 0 ? value : std::min(piece.low, value);
    piece.high = count == 0 ? value : std::max(piece.high, value);
    sum += value;
    ++count;
  }
  if (count > 0) piece.mean = sum / static_cast<double>(count);
  return piece;
}

json train_data(const std::vector<TrainEvent>& events) {
  const std::vector<size_t> ends = bucket_ends(events.size(), kTrainPoints);
  std::vector<size_t> last_rows;
  std::vector<double> loss, loss_low, loss_high, norm, norm_high, rate, speed, flops;
  std::vector<double> memory;
  size_t begin = 0;
  for (const size_t end : ends) {
    const auto piece = [&](double TrainEvent::*column) {
      return piece_of(events, begin, end, column);
    };
    const Piece of_loss = piece(&TrainEvent::loss);
    loss.push_back(of_loss.mean);
    loss_low.push_back(of_loss.low);
    loss_high.push_back(of_loss.high);
    const Piece of_norm = piece(&TrainEvent::gradient_norm);
    norm.push_back(of_norm.mean);
    norm_high.push_back(of_norm.high);
    rate.push_back(events[end - 1].learning_rate);
    speed.push_back(piece(&TrainEvent::tokens_per_second).mean);
    flops.push_back(piece(&TrainEvent::model_flops_per_second).mean);
    memory.push_back(static_cast<double>(events[end - 1].memory_bytes));
    last_rows.push_back(end - 1);
    begin = end;
  }
  json data = clock_columns(events, last_rows);
  data["loss"] = numbers(loss);
  if (events.size() > ends.size()) {  // else low and high are the loss itself
    data["loss_low"] = numbers(loss_low);
    data["loss_high"] = numbers(loss_high);
  }
  data["gradient_norm"] = numbers(norm);
  data["gradient_norm_high"] = numbers(norm_high);
  data["learning_rate"] = numbers(rate);
  data["tokens_per_second"] = numbers(speed);
  data["model_flops_per_second"] = numbers(flops);
  data["memory_bytes"] = numbers(memory);
  return data;
}

json validation_data(const std::vector<ValidationEvent>& events) {
  std::vector<double> losses;
  for (const ValidationEvent& event : events) losses.push_back(event.loss);
  const std::vector<size_t> rows = keep_extremes(losses, kValidationPoints);
  json data = clock_columns(events, rows);
  data["loss"] = json::array();
  data["quarters"] = json::array({json::array(), json::array(), json::array(), json::array()});
  for (const size_t row : rows) {
    data["loss"].push_back(number(events[row].loss));
    const std::vector<double> quarters = merge_bins(events[row], 4);
    for (size_t i = 0; i < 4; ++i) data["quarters"][i].push_back(number(quarters[i]));
  }
  if (!events.empty()) {
    data["last_bins"] = numbers(merge_bins(events.back(), 50));
    data["levels"] = {{"mask_ratio", numbers(events.back().level_mask_ratio)},
                      {"loss", numbers(events.back().level_loss)}};
  }
  return data;
}

// Experts per token against mask ratio, over all events: mean of each bin that was met.
json capacity_data(const std::vector<RoutingEvent>& events) {
  std::array<double, kMaskRatioBins> ratio{}, sum{}, count{};
  for (const RoutingEvent& event : events) {
    const size_t points = std::min(event.mask_ratio.size(), event.experts_per_token.size());
    for (size_t i = 0; i < points; ++i) {
      const double r = event.mask_ratio[i];
      if (!(r >= 0 && r <= 1) || !std::isfinite(event.experts_per_token[i])) continue;
      const size_t bin = std::min(static_cast<size_t>(r * kMaskRatioBins), kMaskRatioBins - 1);
      ratio[bin] += r;
      sum[bin] += event.experts_per_token[i];
      count[bin] += 1;
    }
  }
  json data = {{"mask_ratio", json::array()}, {"experts_per_token", json::array()}};
  for (size_t bin = 0; bin < kMaskRatioBins; ++bin) {
    if (count[bin] == 0) continue;
    data["mask_ratio"].push_back(number(ratio[bin] / count[bin]));
    data["experts_per_token"].push_back(number(sum[bin] / count[bin]));
  }
  return data;
}

// A load relative to the fair share as two characters: sqrt(load) in steps of 1/512, base 64 from
// '0' to 'o', with 'p' and 'q' for '\' and '<', which would have to be escaped. The inverse is in
// page/heatmap.js.
void append_load(std::string& text, double load) {
  const auto code =
      static_cast<unsigned>(std::lround(std::sqrt(std::clamp(load, 0.0, 63.0)) * 512));
  for (const unsigned digit : {code / 64, code % 64}) {
    const char character = static_cast<char>('0' + digit);
    text += character == '\\' ? 'p' : character == '<' ? 'q' : character;
  }
}

std::string encode_loads(const RoutingEvent& event, size_t experts) {
  std::string text;
  for (const LayerRouting& layer : event.layers) {
    double total = 0;
    for (const int64_t tokens : layer.tokens_per_expert) total += static_cast<double>(tokens);
    const double fair = total / static_cast<double>(layer.tokens_per_expert.size());
    for (size_t i = 0; i < experts; ++i) {
      const bool known = i < layer.tokens_per_expert.size() && fair > 0;
      append_load(text, known ? static_cast<double>(layer.tokens_per_expert[i]) / fair : 0);
    }
  }
  return text;
}

json heat_data(const std::vector<RoutingEvent>& events, size_t characters) {
  const RoutingEvent& last = events.back();
  size_t experts = 0;
  json layers = json::array();
  for (const LayerRouting& layer : last.layers) {
    experts = std::max(experts, layer.tokens_per_expert.size());
    layers.push_back(layer.layer);
  }
  if (experts == 0) return nullptr;
  const size_t size = 2 * experts * last.layers.size();
  const size_t maps =
      std::min(std::clamp<size_t>(characters / size, 2, kMostHeatMaps), events.size());
  json data = {{"layers", layers}, {"experts", experts}, {"maps", json::array()}};
  for (size_t i = 0; i < maps; ++i) {
    // Evenly spaced, the last one always.
    const size_t row = maps == 1 ? events.size() - 1 : (events.size() - 1) * i / (maps - 1);
    if (events[row].layers.size() != last.layers.size()) continue;
    data["maps"].push_back(
        {{"step", events[row].step}, {"loads", encode_loads(events[row], experts)}});
  }
  return data;
}

json routing_data(const std::vector<RoutingEvent>& events, size_t heat_characters) {
  if (events.empty()) return nullptr;
  std::vector<double> imbalance;
  for (const RoutingEvent& event : events) {
    imbalance.push_back(mean_over_layers(event, &LayerRouting::max_over_mean_load));
  }
  const std::vector<size_t> rows = keep_extremes(imbalance, kRoutingPoints);
  json data = clock_columns(events, rows);
  const auto column = [&](const char* name, double LayerRouting::*field) {
    json values = json::array();
    for (const size_t row : rows) values.push_back(number(mean_over_layers(events[row], field)));
    data[name] = std::move(values);
  };
  column("experts_per_token", &LayerRouting::experts_per_token_mean);
  column("imbalance", &LayerRouting::max_over_mean_load);
  column("entropy", &LayerRouting::entropy);
  column("block_experts", &LayerRouting::unique_experts_per_block);
  column("unrouted", &LayerRouting::unrouted_share);
  column("dropped", &LayerRouting::dropped_share);
  data["capacity"] = capacity_data(events);
  data["heat"] = heat_data(events, heat_characters);
  return data;
}

// Cut between characters, not inside one.
std::string shorten(const std::string& text) {
  if (text.size() <= kSampleBytes) return text;
  size_t end = kSampleBytes;
  while (end > 0 && continues_character(text[end])) --end;
  return text.substr(0, end) + " …";
}

json samples_data(const std::vector<Sample>& samples) {
  json data = json::array();
  for (size_t i = samples.size() - std::min(samples.size(), kSamples); i < samples.size(); ++i) {
    data.push_back({{"step", samples[i].step},
                    {"prompt", shorten(samples[i].prompt)},
                    {"text", shorten(samples[i].text)}});
  }
  return data;
}

json summary_data(const RunLog& run) {
  const RunSummary s = summarize(run);
  return {{"status", s.status},
          {"parameters", s.parameters},
          {"active_parameters", s.active_parameters},
          {"flops_per_token", number(s.flops_per_token)},
          {"steps", s.steps},
          {"tokens", s.tokens},
          {"seconds", number(s.seconds)},
          {"training_loss", number(s.training_loss)},
          {"validation_loss", number(s.validation_loss)},
          {"best_loss", number(s.best_loss)},
          {"best_step", s.best_step},
          {"perplexity", number(s.perplexity)},
          {"tokens_per_second", number(s.tokens_per_second)},
          {"experts_per_token", number(s.experts_per_token)},
          {"load_imbalance", number(s.load_imbalance)},
          {"memory_bytes", s.memory_bytes},
          {"processor", run.config.machine.processor},
          {"isa", run.config.machine.isa},
          {"threads", run.config.machine.threads}};
}

json configuration_data(std::span<const RunLog> runs) {
  json rows = json::array();
  for (const ConfigurationRow& row : compare_configurations(runs)) {
    rows.push_back({{"key", row.key}, {"values", row.values}, {"differs", row.differs}});
  }
  return rows;
}

// Inside <script> no "</" may stand, nor "<!--"; '<' occurs only within JSON strings.
std::string safe_in_script(const std::string& text) {
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

}  // namespace

std::string page_data(std::span<const RunLog> runs) {
  std::vector<std::string> directories;
  for (const RunLog& run : runs) directories.push_back(run.directory);
  const std::vector<std::string> names = run_names(directories);
  json data = {{"runs", json::array()}, {"configuration", configuration_data(runs)}};
  for (size_t i = 0; i < runs.size(); ++i) {
    const RunLog& run = runs[i];
    data["runs"].push_back({{"name", names[i]},
                            {"directory", run.directory},
                            {"version", run.config.version},
                            {"summary", summary_data(run)},
                            {"train", train_data(run.train)},
                            {"validation", validation_data(run.validation)},
                            {"routing", routing_data(run.routing, kHeatCharacters / runs.size())},
                            {"samples", samples_data(run.samples)}});
  }
  return safe_in_script(to_text(data));
}

}  // namespace unmask
