#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "unmask/checkpoint/packed_layout.h"
#include "unmask/model/config.h"
#include "unmask/model/weights.h"

namespace unmask {

// The tensors of packed_layout.h as a forward pass reads them, wherever they lie.
class PackedWeights {
 public:
  using BytesOf = std::function<const std::byte*(const std::string& name)>;

  PackedWeights() = default;
  PackedWeights(const ModelConfig& config, const PackedFormat& format, const BytesOf& bytes_of);

  // Borrows the tensors, and tables of this object.
  const ModelWeights& weights() const { return weights_; }

 private:
  ModelWeights weights_;
  std::vector<std::vector<const std::byte*>> records_;  // [layers][experts]; dense layers: none
};

}  // namespace unmask
