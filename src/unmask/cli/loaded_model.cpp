#include "unmask/cli/loaded_model.h"

#include <utility>

#include "unmask/checkpoint/hugging_face.h"

namespace unmask::cli {

Result<Precision> parse_precision(const std::string& name) {
  if (name == "f32") return Precision::f32;
  if (name == "bf16") return Precision::bf16;
  return usage_error("precision \"{}\": expected f32 or bf16", name);
}

Result<Model> load_model(const std::string& directory, Precision precision,
                         const AdjustConfig& adjust) {
  UNMASK_TRY(ModelConfig config, load_model_config(directory));
  if (adjust) UNMASK_TRY_STATUS(adjust(config));
  UNMASK_TRY(Model model, Model::create(config, {.precision = precision}));
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
