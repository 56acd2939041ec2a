#pragma once

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "unmask/checkpoint/hugging_face.h"
#include "unmask/text/byte_tokenizer.h"

namespace unmask::test {

inline ModelConfig byte_config() {
  ModelConfig config;
  config.vocab_size = 259;
  config.layers = 2;
  config.hidden = 32;
  config.experts = 8;
  config.expert_ffn = 16;
  config.routing.experts_per_token = 2;
  config.mask_token = 256;
  config.end_token = config.pad_token = 257;
  config.init_std = 0.3f;
  return config;
}

// A checkpoint of random weights with the byte tokenizer.
inline void write_byte_model(const std::string& directory, const ModelConfig& config,
                             uint64_t seed) {
  const ParameterLayout layout(config);
  Parameters parameters(layout);
  initialize(parameters, seed);
  std::filesystem::create_directory(directory);
  ASSERT_TRUE(save_model(directory, config, parameters).ok());
  ASSERT_TRUE(ByteTokenizer().save(directory).ok());
}

}  // namespace unmask::test
