#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "unmask/base/document.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/model_config_json.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/model_output.h"
#include "unmask/cli/validators.h"
#include "unmask/model/published_models.h"
#include "unmask/text/byte_tokenizer.h"

namespace unmask::cli {
namespace {

struct InitArguments {
  std::string shape;
  std::string out;
  std::string format = "f32";
  std::optional<int32_t> group;
  uint64_t seed = 1;
  std::optional<int32_t> layers;
  std::vector<std::string> settings;
  float router_skew = 0;
};

// A published shape, or that of a config.json.
Result<ModelConfig> named_shape(const std::string& shape) {
  if (!shape.ends_with(".json")) return published_model(shape);
  UNMASK_TRY(const nlohmann::json document, read_json_file(shape));
  return model_config_from_json(document, shape);
}

// Keys are those of config.json, of which each must exist: others would be ignored there.
Status set_known(nlohmann::json& document, const std::string& setting) {
  const std::string key = setting.substr(0, setting.find_first_of("=."));
  if (!document.contains(key)) {
    std::vector<std::string> known;
    for (const auto& [name, value] : document.items()) known.push_back(name);
    return usage_error("--set {}: config.json has no key {:?}; the nearest is {:?}", setting, key,
                       nearest_name(key, known));
  }
  return set_value(document, setting);
}

Result<ModelConfig> shape_of(const InitArguments& arguments) {
  UNMASK_TRY(ModelConfig config, named_shape(arguments.shape));
  if (arguments.layers) config.layers = *arguments.layers;
  UNMASK_TRY_STATUS(validate(config));
  nlohmann::json document = model_config_to_json(config);
  for (const std::string& setting : arguments.settings) {
    UNMASK_TRY_STATUS(set_known(document, setting));
  }
  return model_config_from_json(document, arguments.shape);
}

// Bytes, where the model's special tokens are theirs; of another vocabulary nothing is known.
Status add_tokenizer(const ModelConfig& config, const std::string& directory) {
  const ByteTokenizer bytes;
  if (config.mask_token != bytes.mask_token() || config.end_token != bytes.end_token()) return {};
  return bytes.save(directory);
}

Status init(const InitArguments& arguments) {
  UNMASK_TRY(const ModelConfig config, shape_of(arguments));
  const RandomParameters source(config, arguments.seed, arguments.router_skew);
  UNMASK_TRY(auto staged, stage_model(arguments.out));
  if (arguments.format == "f32") {
    if (arguments.group) return usage_error("group: f32 has no scales; expected none");
    const auto bytes = source.layout().parameters() * int64_t{sizeof(float)};
    UNMASK_TRY_STATUS(save_model(staged.path(), source, {}, progress_in_megabytes("init", bytes)));
  } else {
    UNMASK_TRY_STATUS(write_packed(staged, source, weight_formats().at(arguments.format),
                                   arguments.group, "init"));
  }
  UNMASK_TRY_STATUS(add_tokenizer(config, staged.path()));
  UNMASK_TRY_STATUS(staged.commit());
  print_written(arguments.out, config);
  return {};
}

}  // namespace

void add_init(CLI::App& program, Run& run) {
  const auto arguments = std::make_shared<InitArguments>();
  CLI::App* command = program.add_subcommand(
      "init", "Write a random model of a given shape, to train from or to measure with");
  command
      ->add_option("--shape", arguments->shape,
                   "llada2-mini, llada2-flash, llada-moe, or a config.json")
      ->required();
  command->add_option("OUT", arguments->out, "Directory of the model")->required();
  command
      ->add_option("--format", arguments->format,
                   "f32 (a checkpoint to train), or packed: bf16, int8, int4")
      ->check(CLI::IsMember({"f32", "bf16", "int8", "int4"}))
      ->capture_default_str();
  command->add_option("--group", arguments->group,
                      "Packed: weights of an expert that share a scale, a multiple of 32");
  command->add_option("--seed", arguments->seed, "Of every weight")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--layers", arguments->layers, "Instead of the shape's");
  command
      ->add_option("--set", arguments->settings,
                   "key=value over the shape's config.json, repeatable")
      ->allow_extra_args(false);
  command
      ->add_option("--router-skew", arguments->router_skew,
                   "Concentrates the routing as training does: times a normal number of each "
                   "expert, added to the selection bias; without one, rows of the router are "
                   "multiplied by e to that")
      ->capture_default_str();
  command->callback(
      [&run, arguments] { run = [arguments] { return end_if_interrupted(init(*arguments)); }; });
}

}  // namespace unmask::cli
