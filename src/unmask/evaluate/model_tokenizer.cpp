#include "unmask/evaluate/model_tokenizer.h"

#include <optional>

namespace unmask {

Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& directory,
                                                  const ModelConfig& config) {
  UNMASK_TRY(auto tokenizer, Tokenizer::load(directory));
  const std::optional<int32_t> mask = tokenizer->mask_token();
  if (!mask) {
    return failure(
        "{}: the tokenizer has no mask token, without which nothing can be unmasked; where it has "
        "one of another name, say so by \"mask_token\" in tokenizer_config.json",
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

}  // namespace unmask
