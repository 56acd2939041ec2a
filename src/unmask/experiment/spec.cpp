#include "unmask/experiment/spec.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include <fmt/ranges.h>

#include "unmask/base/document.h"
#include "unmask/base/files.h"
#include "unmask/evaluate/tasks/registry.h"
#include "unmask/experiment/stage.h"

namespace unmask {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFile = "experiment.toml";

// read(fields) for every table of the array `key`.
template <class Read>
void read_tables(Fields& fields, std::string_view key, const std::string& file, Read&& read) {
  const json* const tables = fields.find(key);
  if (tables == nullptr) return;
  if (!tables->is_array()) return fields.refuse(key, "an array of tables");
  for (size_t i = 0; i < tables->size(); ++i) {
    Fields table((*tables)[i], fmt::format("{}[{}]", fields.path_of(key), i), file);
    read(table);
    if (const Status status = table.finish(); !status) fields.fail(status.error());
  }
}

// [task.NAME]: keys of every stage that asks the task, unless it says otherwise, and the `set` of
// its data.
using TaskDefaults = std::map<std::string, json>;

const json* find_or(Fields& fields, const json& defaults, const std::string& key) {
  const json* const value = fields.find(key);
  return value ? value : defaults.contains(key) ? &defaults[key] : nullptr;
}

const json& defaults_of(const TaskDefaults& tasks, const std::string& task) {
  static const json kNone = json::object();
  const auto found = tasks.find(task);
  return found == tasks.end() ? kNone : found->second;
}

void read_task_defaults(Fields& fields, TaskDefaults& tasks) {
  for (const std::string& task : task_names()) {
    fields.table(task, [&](Fields& table) {
      json& defaults = tasks[task] = json::object();
      for (const std::string& key : stage_keys("task")) {
        if (const json* const value = table.find(key)) defaults[key] = *value;
      }
    });
  }
}

void read_data(Fields& fields, const TaskDefaults& tasks, DataSpec& data) {
  fields.require("task", data.task);
  data.name = data.task;
  fields.read("name", data.name);
  const json* const settings = find_or(fields, defaults_of(tasks, data.task), "set");
  if (settings) data.settings = *settings;
  fields.require("count", data.count);
  fields.read("seed", data.seed);
}

void read_stage(Fields& fields, const TaskDefaults& tasks, StageSpec& stage) {
  for (const std::string& kind : stage_kinds()) {
    const json* const value = fields.find(kind);
    if (value == nullptr) continue;
    if (!stage.kind.empty()) {
      return fields.fail(usage_error("'{}': expected one thing to do, found {} and {}",
                                     fields.path_of(kind), stage.kind, kind));
    }
    stage.kind = stage.name = kind;
    stage.keys["what"] = *value;
  }
  if (stage.kind.empty()) {
    return fields.fail(usage_error("'{}': expected one of {}", fields.path_of(""),
                                   fmt::join(stage_kinds(), ", ")));
  }
  fields.read("name", stage.name);
  fields.read("from", stage.from);
  const json& what = stage.keys["what"];
  const bool asks = stage.kind == "task" && what.is_string();
  const json& defaults = defaults_of(tasks, asks ? what.get<std::string>() : "");
  for (const std::string& key : stage_keys(stage.kind)) {
    if (const json* const value = find_or(fields, defaults, key)) stage.keys[key] = *value;
  }
}

void read_arm(Fields& fields, const std::string& file, const TaskDefaults& tasks, ArmSpec& arm) {
  fields.require("name", arm.name);
  arm.label = arm.name;
  fields.read("label", arm.label);
  read_tables(fields, "stages", file, [&](Fields& table) {
    StageSpec stage;
    read_stage(table, tasks, stage);
    arm.stages.push_back(std::move(stage));
  });
}

std::string filled_in(std::string text, const std::string& word) {
  const std::string slot = "{each}";
  for (size_t at = 0; (at = text.find(slot, at)) != std::string::npos; at += word.size()) {
    text.replace(at, slot.size(), word);
  }
  return text;
}

// `value` with the word in place of {each} in all its strings.
json filled_in(const json& value, const std::string& word) {
  if (value.is_string()) return filled_in(value.get<std::string>(), word);
  if (!value.is_structured()) return value;
  json filled = value;
  for (json& element : filled) element = filled_in(element, word);
  return filled;
}

Result<std::vector<std::string>> read_words(const json& arm, const std::string& path,
                                            const std::string& file) {
  std::vector<std::string> words;
  Fields fields(arm, path, file);
  fields.read("each", words);
  fields.ignore_others();
  UNMASK_TRY_STATUS(fields.finish());
  return words;
}

// An arm with `each = [words]` stands for one arm for every word, in place of {each}.
Result<json> spread_arms(const json& arms, const std::string& file) {
  if (!arms.is_array()) return arms;
  json all = json::array();
  for (size_t i = 0; i < arms.size(); ++i) {
    json arm = arms[i];
    if (!arm.is_object() || !arm.contains("each")) {
      all.push_back(std::move(arm));
      continue;
    }
    UNMASK_TRY(const auto words, read_words(arm, fmt::format("arms[{}]", i), file));
    arm.erase("each");
    for (const std::string& word : words) all.push_back(filled_in(arm, word));
  }
  return all;
}

// Every arm and stage has a name of its own, and begins with a model that is there by then.
Status check_names(const ExperimentSpec& spec, const std::string& file) {
  std::set<std::string> arms;
  std::vector<std::string> sources;  // what `from` may say
  for (const ArmSpec& arm : spec.arms) {
    if (!arms.insert(arm.name).second) {
      return usage_error("{}: arm \"{}\": expected a name of its own, found it twice", file,
                         arm.name);
    }
    std::set<std::string> stages;
    for (const StageSpec& stage : arm.stages) {
      if (!stages.insert(stage.name).second) {
        return usage_error("{}: arm \"{}\": stage \"{}\" comes twice; give one a name", file,
                           arm.name, stage.name);
      }
      if (!stage.from.empty() && std::ranges::count(sources, stage.from) == 0) {
        return usage_error("{}: arm \"{}\": from = \"{}\": expected an earlier arm (nearest: {})",
                           file, arm.name, stage.from, nearest_name(stage.from, sources));
      }
    }
    sources.push_back(arm.name);
    for (const std::string& stage : stages) {
      sources.push_back(fmt::format("{}/{}", arm.name, stage));
    }
  }
  return {};
}

void read_quick(Fields& fields, ExperimentSpec& spec) {
  int32_t seeds = spec.seeds;
  std::vector<std::string> settings;
  std::string data;
  int64_t count = 0, examples = 0;
  fields.read_between("seeds", seeds, 1);
  fields.read("set", settings);
  fields.read("data", data);
  fields.read_between("count", count, 1);
  fields.read_between("examples", examples, 1);
  if (!spec.quick) return;
  spec.seeds = seeds;
  spec.settings = std::move(settings);
  spec.quick_data = std::move(data);
  spec.quick_count = count;
  for (DataSpec& data : spec.data) {
    if (examples > 0) data.count = std::min(data.count, examples);
  }
  if (!spec.quick_data.empty()) spec.needs.clear();
}

}  // namespace

Result<ExperimentSpec> read_experiment(const std::string& root, const std::string& name,
                                       bool quick) {
  const std::vector<std::string> names = experiment_names(root);
  if (std::ranges::count(names, name) == 0) {
    return usage_error(
        "experiment \"{}\": expected one of {} (in {}; run from the root of the "
        "repository)",
        name, names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")), root);
  }
  ExperimentSpec spec;
  spec.name = name;
  spec.directory = fmt::format("{}/{}", root, name);
  spec.quick = quick;
  const std::string file = spec.directory + "/" + kFile;
  UNMASK_TRY(json document, read_layered_toml_file(file));
  if (document.contains("arms")) {
    UNMASK_TRY(document["arms"], spread_arms(document["arms"], file));
  }
  Fields fields(document, "", file);
  fields.require("title", spec.title);
  fields.read("needs", spec.needs);
  fields.read_between("first_seed", spec.first_seed, 1);
  fields.read_between("seeds", spec.seeds, 1);
  TaskDefaults tasks;
  fields.table("task", [&](Fields& f) { read_task_defaults(f, tasks); });
  read_tables(fields, "data", file,
              [&](Fields& f) { read_data(f, tasks, spec.data.emplace_back()); });
  read_tables(fields, "arms", file,
              [&](Fields& f) { read_arm(f, file, tasks, spec.arms.emplace_back()); });
  fields.table("quick", [&](Fields& f) { read_quick(f, spec); });
  UNMASK_TRY_STATUS(fields.finish());
  UNMASK_TRY_STATUS(check_names(spec, file));
  return spec;
}

std::vector<std::string> experiment_names(const std::string& root) {
  std::vector<std::string> names;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(root, code)) {
    if (path_exists(entry.path() / kFile)) names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace unmask
