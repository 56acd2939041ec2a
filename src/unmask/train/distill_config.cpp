#include "unmask/train/distill_config.h"

#include <utility>

#include "unmask/base/document.h"

namespace unmask {
namespace {

void read_targets(Fields& fields, DistillConfig& config) {
  TargetOptions& targets = config.targets;
  GenerateOptions& generate = targets.generate;
  fields.require("prompts", config.prompts);
  fields.read_between("count", config.count, 0);
  targets.length = config.train.data.sequence_length;
  fields.read_between("length", targets.length, 1);
  fields.read_between("least_confidence", targets.least_confidence, 0.0f, 1.0f);
  fields.read_between("batch", targets.batch, 1);
  fields.read("seed", targets.seed);
  fields.read_between("block_length", generate.block_length, 0);
  fields.read_between("steps", generate.steps, 1);
  fields.read_between("temperature", generate.temperature, 0.0f);
  fields.read("threshold", generate.sampler.threshold);
}

}  // namespace

Result<DistillConfig> distill_config_from_json(const nlohmann::json& document,
                                               const std::string& file) {
  const auto table = document.find("distill");
  if (table == document.end()) {
    return usage_error("{}: expected a table 'distill' with 'prompts'", file);
  }
  nlohmann::json training = document;
  training.erase("distill");
  nlohmann::json& data = training["data"];
  if (data.is_null()) data = nlohmann::json::object();
  if (data.contains("paths")) {
    return usage_error(
        "{}: 'data.paths': expected nothing, since the targets are the data; prompts are named by "
        "distill.prompts",
        file);
  }
  if (data.is_object()) data["paths"] = nlohmann::json::array();

  DistillConfig config;
  UNMASK_TRY(config.train, train_config_from_json(training, file));
  if (config.train.from.empty()) {
    return usage_error(
        "{}: 'training.from': expected the checkpoint, or run, that writes the targets and is then "
        "trained on them, found none",
        file);
  }
  Fields fields(*table, "distill", file);
  read_targets(fields, config);
  UNMASK_TRY_STATUS(fields.finish());
  return config;
}

}  // namespace unmask
