#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "unmask/base/document.h"
#include "unmask/base/json_text.h"
#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/model_config_json.h"
#include "unmask/cli/commands.h"
#include "unmask/cli/model_output.h"
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

std::string key_of(const std::string& setting) {
  return setting.substr(0, setting.find_first_of("=."));
}

// Keys are those of config.json, of which each must exist: others would be ignored there.
Status set_known(nlohmann::json& document, const std::string& setting) {
  const std::string key = key_of(setting);
  if (!document.contains(key)) {
    std::vector<std::string> known;
    for (const auto& [name, value] : document.items()) known.push_back(name);
    return usage_error("--set {}: config.json has no key {:?}; the nearest is {:?}", setting, key,
                       nearest_name(key, known));
  }
  return set_value(document, setting);
}

// Leaves to the other keys of config.json what they say too, so that setting those counts; what a
// setting names stays, and wins.
void shorten_section(nlohmann::json& document, const ModelConfig& config,
                     const std::vector<std::string>& settings) {
  for (const std::string key :
       {"shared_ffn", "shared_experts", "attention_block", "linear_bias", "routing"}) {
    const bool named = std::ranges::any_of(
        settings, [&](const std::string& s) { return s.starts_with("unmask." + key); });
    nlohmann::json shorter = document;
    shorter["unmask"].erase(key);
    const auto read = model_config_from_json(shorter, "config.json");
    if (!named && read && *read == config) document = std::move(shorter);
  }
}

// The key in the section `unmask` that wins over one of config.json; empty where none does.
std::string deciding_key(const nlohmann::json& section, const std::string& key) {
  static const std::map<std::string, std::string> names = {
      {"num_shared_experts", "shared_experts"},
      {"use_bias", "linear_bias"},
      {"block_size", "attention_block"},
      {"num_experts_per_tok", "routing.experts_per_token"},
      {"norm_topk_prob", "routing.renormalize"},
      {"routed_scaling_factor", "routing.scale"},
      {"score_function", "routing.weights"},
      {"expert_capacity", "routing.block"},
      {"n_group", "routing.groups"},
      {"topk_group", "routing.groups"}};
  const auto found = names.find(key);
  if (found == names.end()) return "";
  return section.contains(key_of(found->second)) ? "unmask." + found->second : "";
}

// Whether giving one key of `document` the value it has in `other` gives another model.
bool depends_on(const nlohmann::json& document, const std::string& key,
                const nlohmann::json& other) {
  nlohmann::json changed = document;
  changed[key] = other.at(key);
  const auto before = model_config_from_json(document, "config.json");
  const auto after = model_config_from_json(changed, "config.json");
  return !before || !after || *before != *after;
}

// Refuses a setting that changes nothing.
Status expect_effect(const std::string& setting, const nlohmann::json& shape,
                     const nlohmann::json& document) {
  const std::string key = key_of(setting);
  if (document.at(key) == shape.at(key) || depends_on(document, key, shape) ||
      depends_on(shape, key, document)) {
    return {};
  }
  const std::string decides = deciding_key(document.at("unmask"), key);
  if (decides.empty()) {
    return usage_error(
        "--set {}: expected a key that decides something, found that a model of type {} does not "
        "depend on {}; leave it out",
        setting, to_text(document.at("model_type")), key);
  }
  return usage_error(
      "--set {}: expected a key that decides something, found that {} does instead of {}; set that",
      setting, decides, key);
}

Result<ModelConfig> shape_of(const InitArguments& arguments) {
  UNMASK_TRY(ModelConfig config, named_shape(arguments.shape));
  if (arguments.layers) config.layers = *arguments.layers;
  UNMASK_TRY_STATUS(validate(config));
  nlohmann::json shape = model_config_to_json(config);
  shorten_section(shape, config, arguments.settings);
  nlohmann::json document = shape;
  for (const std::string& setting : arguments.settings) {
    UNMASK_TRY_STATUS(set_known(document, setting));
  }
  UNMASK_TRY(config, model_config_from_json(document, arguments.shape));
  for (const std::string& setting : arguments.settings) {
    UNMASK_TRY_STATUS(expect_effect(setting, shape, document));
  }
  return config;
}

// Whether the model's special tokens are those of bytes; of another vocabulary nothing is known.
bool reads_bytes(const ModelConfig& config) {
  const ByteTokenizer bytes;
  return config.mask_token == bytes.mask_token() && config.end_token == bytes.end_token();
}

Status init(const InitArguments& arguments) {
  UNMASK_TRY(const ModelConfig config, shape_of(arguments));
  constexpr float kMostSkew = 10;
  if (!(arguments.router_skew >= 0 && arguments.router_skew <= kMostSkew)) {
    return usage_error("--router-skew {}: expected a number from 0 to {}", arguments.router_skew,
                       kMostSkew);
  }
  const bool bytes = reads_bytes(config);
  if (!bytes) {
    UNMASK_TRY_STATUS(check_no_tokenizer_is_lost(arguments.out));
  }
  const RandomParameters source(config, arguments.seed, arguments.router_skew);
  UNMASK_TRY(auto staged, stage_model(arguments.out));
  if (arguments.format == "f32") {
    if (arguments.group) return usage_error("group: f32 has no scales; expected none");
    const auto size = source.layout().parameters() * int64_t{sizeof(float)};
    UNMASK_TRY_STATUS(save_model(staged.path(), source, {}, progress_in_megabytes("init", size)));
  } else {
    UNMASK_TRY_STATUS(write_packed(staged, source, weight_formats().at(arguments.format),
                                   arguments.group, "init"));
  }
  if (bytes) UNMASK_TRY_STATUS(ByteTokenizer().save(staged.path()));
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
                   fmt::format("{}, or a config.json", published_names()))
      ->required();
  command->add_option("OUT", arguments->out, "Directory of the model")->required();
  command
      ->add_option("--format", arguments->format,
                   "f32 (a checkpoint to train), or packed: bf16, int8, int4")
      ->check(CLI::IsMember({"f32", "bf16", "int8", "int4"}))
      ->capture_default_str();
  add_group_option(*command, arguments->group);
  command->add_option("--seed", arguments->seed, "Of every weight")->capture_default_str();
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
