#include "unmask/report/metrics_reader.h"

#include <cmath>
#include <filesystem>
#include <string_view>
#include <type_traits>
#include <utility>

#include <nlohmann/json.hpp>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/report/metrics_fields.h"

namespace unmask {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

// Fills an event from a JSON object; a visitor of visit_fields. What is absent keeps its default;
// the first value of a wrong type is remembered in `wrong`.
class ObjectReader {
 public:
  ObjectReader(const json& object, std::string& wrong) : object_(object), wrong_(wrong) {}

  template <class T>
  void operator()(const char* key, T& value) {
    const auto found = object_.find(key);
    if (found != object_.end() && !get(*found, value) && wrong_.empty()) wrong_ = key;
  }

 private:
  static bool get(const json& from, double& value) {
    value = from.is_number() ? from.get<double>() : kNotMeasured;
    return from.is_number() || from.is_null();
  }
  static bool get(const json& from, int64_t& value) {
    const bool whole = from.is_number() && std::abs(from.get<double>()) < 0x1p63;
    if (whole) value = from.get<int64_t>();
    return whole;
  }
  static bool get(const json& from, bool& value) {
    if (from.is_boolean()) value = from.get<bool>();
    return from.is_boolean();
  }
  static bool get(const json& from, std::string& value) {
    if (from.is_string()) value = from.get<std::string>();
    return from.is_string();
  }
  template <class T>
  bool get(const json& from, std::vector<T>& values) {
    if (!from.is_array()) return false;
    values.resize(from.size());
    for (size_t i = 0; i < values.size(); ++i) {
      if (!get(from[i], values[i])) return false;
    }
    return true;
  }
  template <class Event>
  bool get(const json& from, Event& event) {
    if (!from.is_object()) return false;
    visit_fields(event, ObjectReader(from, wrong_));
    return true;
  }

  const json& object_;
  std::string& wrong_;
};

// The event of a line, or what is wrong with it.
template <class Event>
std::string read_event(const json& object, Event& event) {
  std::string wrong;
  visit_fields(event, ObjectReader(object, wrong));
  if (!wrong.empty()) return fmt::format("\"{}\" is of the wrong type", wrong);
  if constexpr (requires { event.step; }) {
    if (!object.contains("step")) return "\"step\" is missing";
  }
  return {};
}

template <class Event>
std::string read_into(const json& object, std::vector<Event>& events) {
  Event event;
  std::string wrong = read_event(object, event);
  if (wrong.empty()) events.push_back(std::move(event));
  return wrong;
}

std::string take_event(const json& object, RunLog& run) {
  if (!object.is_object()) return "expected a JSON object";
  const auto kind_at = object.find("kind");
  if (kind_at == object.end() || !kind_at->is_string()) return "\"kind\" is missing";
  const auto kind = kind_at->get<std::string>();
  if (kind == kKind<EndEvent>) {
    EndEvent end;
    std::string wrong = read_event(object, end);
    if (wrong.empty()) run.end = std::move(end);
    return wrong;
  }
  run.end.reset();
  if (kind == kKind<ConfigEvent>) {
    ConfigEvent config;
    std::string wrong = read_event(object, config);
    if (const auto at = object.find("configuration"); at != object.end()) {
      if (!at->is_object()) return "\"configuration\" is of the wrong type";
      config.configuration = at->dump();
    }
    if (wrong.empty()) run.config = std::move(config);
    return wrong;
  }
  if (kind == kKind<TrainEvent>) return read_into(object, run.train);
  if (kind == kKind<ValidationEvent>) return read_into(object, run.validation);
  if (kind == kKind<RoutingEvent>) return read_into(object, run.routing);
  if (kind == kKind<CheckpointEvent>) return read_into(object, run.checkpoints);
  return {};  // of a later version
}

std::string take_sample(const json& object, RunLog& run) {
  if (!object.is_object()) return "expected a JSON object";
  Sample sample;
  std::string wrong;
  ObjectReader field(object, wrong);
  field("step", sample.step);
  field("prompt", sample.prompt);
  field("text", sample.text);
  if (!wrong.empty()) return fmt::format("\"{}\" is of the wrong type", wrong);
  run.samples.push_back(std::move(sample));
  return {};
}

// take(object, run) for every line; the last one may be torn by a kill.
template <class Take>
Status read_lines(const std::string& path, RunLog& run, Take take) {
  UNMASK_TRY(const std::string text, read_file(path));
  std::string_view rest = text;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    const bool torn = end == rest.npos;
    rest.remove_prefix(torn ? rest.size() : end + 1);
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const auto object = parse_json(line, "");
    if (torn && !object) break;
    const std::string wrong = object ? take(*object, run) : "expected one JSON object per line";
    if (!wrong.empty()) {
      run.problems.push_back(fmt::format("{}:{}: {}; line skipped", path, number, wrong));
    }
  }
  return {};
}

}  // namespace

Result<RunLog> read_run(const std::string& directory) {
  if (!path_exists(directory)) return failure("{}: no such run directory", directory);
  if (std::error_code code; !fs::is_directory(directory, code)) {
    return failure("{}: expected a run directory (it holds metrics.jsonl), found a file",
                   directory);
  }
  RunLog run;
  run.directory = directory;
  const std::string metrics = (fs::path(directory) / "metrics.jsonl").string();
  if (!path_exists(metrics)) {
    return failure("{}: expected a run directory, but it holds no metrics.jsonl", directory);
  }
  UNMASK_TRY_STATUS(read_lines(metrics, run, take_event));
  if (run.train.empty() && run.validation.empty()) {
    return failure("{}: neither training nor validation events yet{}{}", metrics,
                   run.problems.empty() ? "" : "; first problem: ",
                   run.problems.empty() ? "" : run.problems.front());
  }
  const std::string samples = (fs::path(directory) / "samples.jsonl").string();
  if (path_exists(samples)) UNMASK_TRY_STATUS(read_lines(samples, run, take_sample));
  return run;
}

}  // namespace unmask
