#include "unmask/experiment/training_document.h"

#include <algorithm>

#include "unmask/base/document.h"
#include "unmask/base/json_text.h"

namespace unmask {
namespace {

using nlohmann::json;

// The file of the data that a stage, or the quick form, names.
Result<std::string> data_file(const StagePlace& place, const std::string& name) {
  const auto& data = place.experiment.data;
  if (std::ranges::find(data, name, &DataSpec::name) == data.end()) {
    std::vector<std::string> names;
    for (const DataSpec& d : data) names.push_back(d.name);
    return usage_error("{}: data = \"{}\": expected a name of [[data]] (nearest: {})",
                       place.experiment.directory, name, nearest_name(name, names));
  }
  return place.data + "/" + name + ".jsonl";
}

// The tables that a stage writes into are there, or can be made.
Status check_tables(const json& document, const std::string& file) {
  for (const char* key : {"data", "distill", "training"}) {
    if (!document.contains(key) || document[key].is_object()) continue;
    return usage_error("{}: '{}': expected a table, found {}", file, key, to_text(document[key]));
  }
  return {};
}

}  // namespace

Result<json> training_document(const StageSpec& spec, const StagePlace& place) {
  std::string file, data = place.experiment.quick_data;
  std::vector<std::string> settings;
  Fields fields(spec.keys, spec.name, place.experiment.directory);
  fields.require("what", file);
  fields.read("set", settings);
  fields.read("data", data);
  fields.ignore_others();
  UNMASK_TRY_STATUS(fields.finish());

  UNMASK_TRY(json document, read_layered_toml_file(place.experiment.directory + "/" + file));
  for (const std::string& setting : settings) UNMASK_TRY_STATUS(set_value(document, setting));
  for (const std::string& setting : place.experiment.settings) {
    if (setting.starts_with("distill.") && spec.kind != "distill") continue;
    UNMASK_TRY_STATUS(set_value(document, setting));
  }
  UNMASK_TRY_STATUS(check_tables(document, place.experiment.directory + "/" + file));
  if (!data.empty()) {
    UNMASK_TRY(const std::string path, data_file(place, data));
    if (spec.kind == "distill") {  // its data are the targets
      document["distill"]["prompts"] = {path};
      if (document.contains("data")) document["data"].erase("paths");
    } else {
      document["data"]["paths"] = {path};
    }
  }
  document["training"]["seed"] = place.seed;
  if (!place.model.empty()) document["training"]["from"] = place.model;
  return document;
}

}  // namespace unmask
