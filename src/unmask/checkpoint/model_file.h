#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/checkpoint/packed_layout.h"
#include "unmask/checkpoint/safetensors.h"
#include "unmask/model/config.h"
#include "unmask/model/parameters.h"
#include "unmask/model/weights.h"

namespace unmask {

// Whether a directory holds a packed model.
bool is_packed(const std::string& directory);

// A packed model (docs/model-file.md), mapped and never loaded: opening reads the header, and a
// forward pass the experts that it chooses. Every tensor's presence, size and place is checked
// against config.json first; checksums only when asked, because they read everything.
class ModelFile {
 public:
  static Result<ModelFile> open(const std::string& directory);

  const ModelConfig& config() const { return config_; }
  const PackedFormat& format() const { return format_; }
  const Safetensors& archive() const { return archive_; }

  // Views into the mapping and into this object's tables: gone with it.
  ModelWeights weights() const;

  // Reads every byte and compares checksums; the error names the first damaged tensor.
  Status verify() const;

 private:
  ModelFile(ModelConfig config, PackedFormat format, Safetensors archive);

  const std::byte* bytes_of(const std::string& name) const;
  ConstMatrix plain(int parameter) const;
  QuantizedMatrix matrix(const std::string& name, int parameter) const;
  ModelWeights::Layer layer_weights(int32_t index) const;

  ModelConfig config_;
  ParameterLayout layout_;
  PackedFormat format_;
  Safetensors archive_;
  std::vector<std::vector<const std::byte*>> records_;  // [layers][experts]; dense layers: none
};

}  // namespace unmask
