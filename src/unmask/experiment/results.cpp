#include "unmask/experiment/results.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "unmask/base/document.h"
#include "unmask/base/json_text.h"
#include "unmask/base/version.h"
#include "unmask/experiment/record.h"
#include "unmask/experiment/runner.h"
#include "unmask/report/metrics_fields.h"
#include "unmask/train/run_events.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Values, and the curves whose "points" end with them.
constexpr std::pair<const char*, const char*> kMeasuredParts[] = {{"values", "curves"},
                                                                  {"timed_values", "timed_curves"}};
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Seeds that any arm has a directory for.
std::vector<int64_t> seeds_in(const ExperimentSpec& spec, const std::string& directory) {
  std::vector<int64_t> seeds;
  for (const ArmSpec& arm : spec.arms) {
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(directory + "/" + arm.name, code)) {
      const std::string name = entry.path().filename();
      if (!name.starts_with("seed-")) continue;
      const int64_t seed = std::strtoll(name.c_str() + 5, nullptr, 10);
      if (seed > 0 && std::ranges::count(seeds, seed) == 0) seeds.push_back(seed);
    }
  }
  std::ranges::sort(seeds);
  return seeds;
}

json to_json(const Machine& machine) {
  json fields;
  visit_fields(machine, [&](const char* key, const auto& value) { fields[key] = value; });
  return fields;
}

json to_json(const Measured& measured) {
  json parts;
  visit_measured(measured, [&](const char* key, const json& part) { parts[key] = part; });
  return parts;
}

json to_json(const Interval& interval) {
  return {{"mean", interval.mean},
          {"low", interval.low},
          {"high", interval.high},
          {"count", interval.count}};
}

// What a stage was, without what tells one seed from another.
json configuration_of(json description) {
  if (description.contains("training") && description["training"].is_object()) {
    description["training"].erase("seed");
  }
  return description;
}

double number_or_nan(const json* value) {
  return value != nullptr && value->is_number() ? value->get<double>() : kNone;
}

struct Collected {
  json arm;
  double core_seconds = 0;
};

Result<Collected> collect_arm(const ArmSpec& arm, const std::string& directory,
                              const std::vector<int64_t>& seeds, json& remaining) {
  Collected collected;
  collected.arm = {{"name", arm.name}, {"label", arm.label}, {"runs", json::array()}};
  json& configurations = collected.arm["configurations"] = json::object();
  for (const int64_t seed : seeds) {
    json run = {{"seed", seed}, {"stages", json::object()}};
    for (const StageSpec& stage : arm.stages) {
      UNMASK_TRY(auto record, read_stage_record(stage_directory(
                                  directory, arm.name, static_cast<uint64_t>(seed), stage.name)));
      if (!record) {
        remaining.push_back(fmt::format("seed {}, {}: {}", seed, arm.name, stage.name));
        continue;
      }
      collected.core_seconds += record->core_seconds;
      run["stages"][stage.name] = to_json(record->measured);
      if (!configurations.contains(stage.name)) {
        configurations[stage.name] = configuration_of(std::move(record->description));
      }
    }
    collected.arm["runs"].push_back(std::move(run));
  }
  return collected;
}

}  // namespace

json rounded(const json& document) {
  if (document.is_number_float()) {
    const double value = document;
    if (!std::isfinite(value)) return nullptr;
    return std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr);
  }
  if (!document.is_structured()) return document;
  json copy = document;
  for (json& element : copy) element = rounded(element);
  return copy;
}

Result<Results> Results::collect(const ExperimentSpec& spec, const std::string& directory) {
  std::vector<int64_t> seeds = seeds_in(spec, directory);
  for (int64_t seed = spec.first_seed; seed < spec.first_seed + spec.seeds; ++seed) {
    if (std::ranges::count(seeds, seed) == 0) seeds.push_back(seed);
  }
  std::ranges::sort(seeds);
  Results results;
  json& document = results.document_;
  document = {{"experiment", spec.name},
              {"title", spec.title},
              {"quick", spec.quick},
              {"version", version()},
              {"machine", to_json(this_machine())},
              {"seeds", seeds},
              {"remaining", json::array()},
              {"arms", json::array()}};
  double core_seconds = 0;
  for (const ArmSpec& arm : spec.arms) {
    UNMASK_TRY(Collected collected, collect_arm(arm, directory, seeds, document["remaining"]));
    core_seconds += collected.core_seconds;
    document["arms"].push_back(std::move(collected.arm));
  }
  document["core_seconds"] = core_seconds;
  document = rounded(document);
  for (json& arm : document["arms"]) {
    json means = json::object();
    for (const json& run : arm["runs"]) {
      for (const auto& [stage, measured] : run["stages"].items()) {
        for (const char* part : {"values", "timed_values"}) {
          for (const auto& [name, value] : measured[part].items()) {
            const std::string full = stage + "." + name;
            means[full] = rounded(to_json(results.interval(arm["name"], full)));
          }
        }
      }
    }
    arm["means"] = std::move(means);
  }
  return results;
}

Result<Results> Results::read(const std::string& path) {
  Results results;
  UNMASK_TRY(results.document_, read_json_file(path));
  std::string experiment;
  Fields fields(results.document_, "", path);
  fields.require("experiment", experiment);
  for (const char* key :
       {"title", "quick", "version", "machine", "seeds", "remaining", "arms", "core_seconds"}) {
    if (fields.find(key) == nullptr) {
      return failure("{}: expected the results of an experiment, found no '{}'", path, key);
    }
  }
  return results;
}

std::string Results::text() const { return to_text(document_) + "\n"; }

Results Results::brief() const {
  Results results = *this;
  for (json& arm : results.document_["arms"]) {
    arm.erase("means");
    for (json& run : arm["runs"]) {
      for (json& stage : run["stages"]) {
        for (const auto& [values, curves] : kMeasuredParts) {
          const json points = stage[curves].value("points", json::object());
          for (const auto& point : points.items()) {
            stage[values].erase(point.key());
          }
        }
      }
    }
  }
  return results;
}

std::vector<int64_t> Results::seeds() const { return document_["seeds"]; }

std::vector<std::string> Results::arms() const {
  std::vector<std::string> names;
  for (const json& arm : document_["arms"]) names.push_back(arm["name"]);
  return names;
}

const json* Results::find_arm(const std::string& arm) const {
  for (const json& candidate : document_["arms"]) {
    if (candidate["name"] == arm) return &candidate;
  }
  return nullptr;
}

const std::string& Results::label(const std::string& arm) const {
  const json* const found = find_arm(arm);
  return found != nullptr ? (*found)["label"].get_ref<const std::string&>() : arm;
}

const json* Results::find(const json& run, const std::string& name, const char* measured,
                          const char* timed) {
  const size_t dot = name.find('.');
  const auto stage = run["stages"].find(name.substr(0, dot));
  if (stage == run["stages"].end() || dot == std::string::npos) return nullptr;
  std::string path = name.substr(dot);
  std::ranges::replace(path, '.', '/');
  const json::json_pointer pointer(path);
  for (const char* part : {measured, timed}) {
    if ((*stage)[part].contains(pointer)) return &(*stage)[part][pointer];
  }
  return nullptr;
}

// That of the last of several points, which brief() leaves out of the values.
const json* Results::last_point(const json& run, const std::string& value) {
  const size_t dot = value.find('.');
  if (dot == std::string::npos) return nullptr;
  const std::string column = value.substr(0, dot) + ".points" + value.substr(dot);
  const json* const points = find(run, column, "curves", "timed_curves");
  return points != nullptr && !points->empty() ? &points->back() : nullptr;
}

std::vector<double> Results::values(const std::string& arm, const std::string& value) const {
  std::vector<double> values;
  const json* const found = find_arm(arm);
  if (found == nullptr) return values;
  for (const json& run : (*found)["runs"]) {
    const json* number = find(run, value, "values", "timed_values");
    if (number == nullptr) number = last_point(run, value);
    values.push_back(number_or_nan(number));
  }
  return values;
}

Interval Results::interval(const std::string& arm, const std::string& value) const {
  return mean_interval(values(arm, value));
}

std::vector<double> Results::column(const std::string& arm, const std::string& column,
                                    size_t seed) const {
  std::vector<double> values;
  const json* const found = find_arm(arm);
  if (found == nullptr || seed >= (*found)["runs"].size()) return values;
  const json* const numbers = find((*found)["runs"][seed], column, "curves", "timed_curves");
  if (numbers == nullptr) return values;
  for (const json& number : *numbers) values.push_back(number_or_nan(&number));
  return values;
}

Band Results::band(const std::string& arm, const std::string& curve, const std::string& x,
                   const std::string& y) const {
  std::vector<std::vector<double>> rows, places;
  Band band;
  for (size_t seed = 0; seed < seeds().size(); ++seed) {
    const std::vector<double> at = column(arm, curve + "." + x, seed);
    const std::vector<double> values = column(arm, curve + "." + y, seed);
    for (size_t i = 0; i < std::min(at.size(), values.size()); ++i) {
      if (i == rows.size()) {
        rows.emplace_back();
        places.emplace_back();
      }
      rows[i].push_back(values[i]);
      places[i].push_back(at[i]);
    }
  }
  for (const std::vector<double>& row : rows) band.y.push_back(mean_interval(row));
  for (const std::vector<double>& place : places) band.x.push_back(mean_interval(place).mean);
  return band;
}

}  // namespace unmask
