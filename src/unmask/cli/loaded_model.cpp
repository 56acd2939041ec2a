#include "unmask/cli/loaded_model.h"

#include <utility>

#include "unmask/checkpoint/hugging_face.h"
#include "unmask/checkpoint/model_file.h"

namespace unmask::cli {
namespace {

Result<Model> map_model(const std::string& directory, const LoadOptions& options) {
  UNMASK_TRY(auto opened, ModelFile::open(directory));
  const auto file = std::make_shared<ModelFile>(std::move(opened));
  ModelConfig config = file->config();
  if (options.adjust) UNMASK_TRY_STATUS(options.adjust(config));
  if (options.expert_memory) {
    UNMASK_TRY_STATUS(file->limit_expert_memory(*options.expert_memory));
  }
  return Model::from_weights(config, {.precision = options.precision}, file->weights(), file);
}

}  // namespace

Result<Precision> parse_precision(const std::string& name) {
  if (name == "f32") return Precision::f32;
  if (name == "bf16") return Precision::bf16;
  return usage_error("precision \"{}\": expected f32 or bf16", name);
}

Result<Model> load_model(const std::string& directory, const LoadOptions& options) {
  if (is_packed(directory)) return map_model(directory, options);
  if (options.expert_memory) {
    return usage_error(
        "--expert-memory: {} is not packed, and all of it is loaded; expected a model written by "
        "unmask convert",
        directory);
  }
  UNMASK_TRY(ModelConfig config, load_model_config(directory));
  if (options.adjust) UNMASK_TRY_STATUS(options.adjust(config));
  UNMASK_TRY(Model model, Model::create(config, {.precision = options.precision}));
  UNMASK_TRY_STATUS(load_parameters(directory, config, model.parameters()));
  return model;
}

Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& directory,
                                                  const ModelConfig& config) {
  UNMASK_TRY(auto tokenizer, Tokenizer::load(directory));
  const std::optional<int32_t> mask = tokenizer->mask_token();
  if (!mask) {
    return failure("{}: the tokenizer has no mask token, without which nothing can be unmasked",
                   directory);
  }
  if (*mask != config.mask_token) {
    return failure(
        "{}: the tokenizer's mask token is {}, that of config.json {}: expected the same",
        directory, *mask, config.mask_token);
  }
  if (tokenizer->vocab_size() > config.vocab_size) {
    return failure("{}: the tokenizer has {} ids, the model embeddings for {}", directory,
                   tokenizer->vocab_size(), config.vocab_size);
  }
  return tokenizer;
}

}  // namespace unmask::cli
